"""Write docs/performance.md from what ``make bench`` measured.

    make bench && cp runs/bench.json docs/results/performance/bench.json
    python scripts/performance_page.py [JSON [PAGE]]

Without arguments the JSON is docs/results/performance/bench.json and the page docs/performance.md. The ratios of
clean commits are also appended to ``history.csv`` beside the JSON.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from trustseg.tables import write_csv

ROOT: Final = Path(__file__).parent.parent
INTRODUCTION: Final = """\
# Performance

<!-- Written by scripts/performance_page.py from what `make bench` measured; do not edit. -->

`make bench` measures these figures again (`SUITES="attacks data"` measures some). A ratio, marked x, compares two ways
of doing the same work in one run, so it means something on other machines; seconds and rates do not. Short works take
turns and the shortest time of each counts; steps of a training are compared with what was measured just before them;
each way to an AUSE or ECE runs once, in a process of its own that tells its memory. A ratio of measured to predicted
cost is turned round where it is below 1. Missed targets are marked.
"""
HISTORY: Final = """\
## History

Ratios that were measured at several commits, oldest first ([all of them](results/performance/history.csv)).

| figure | ratios |
|---|---|
"""
PLACES: Final = {"cpu": "CPU", "gpu": "GPU"}


def main(source: Path, page: Path) -> None:
    """Write the page."""
    if not source.is_file():
        sys.exit(
            f"'{source}' does not exist, what make bench measured was expected; run it and copy runs/bench.json there"
        )
    measured = json.loads(source.read_text(encoding="utf-8"))
    lines = [INTRODUCTION]
    for place, title in PLACES.items():
        lines += [f"## {title}", "", *_section(measured.get(place, {}), title)]
    lines += _history_section(_with_history(measured, source.with_name("history.csv")))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _with_history(measured: Mapping[str, Any], file: Path) -> pl.DataFrame:
    """Append the ratios to the file and return all of its rows."""
    rows = [
        {"place": place, "commit": suite["machine"]["commit"], "figure": figure["name"], "ratio": figure["value"]}
        for place, suites in measured.items()
        for suite in suites.values()
        for figure in suite["figures"]
        if figure["unit"] == "x" and not suite["machine"]["commit"].endswith("-dirty")
    ]
    if not rows:
        return pl.DataFrame()
    table = pl.DataFrame(rows).with_columns(pl.col("ratio").round(4))
    if file.is_file():
        table = pl.concat([pl.read_csv(file, schema=table.schema), table])
    table = table.unique(["place", "commit", "figure"], keep="last", maintain_order=True)
    write_csv(table, file)
    return table


def _history_section(history: pl.DataFrame) -> Iterator[str]:
    if history.is_empty():
        return
    ratios = pl.format("{} ({})", pl.col("ratio").round_sig_figs(3), "commit").str.join(", ")
    figures = history.group_by("place", "figure", maintain_order=True).agg(ratios, commits=pl.len())
    repeated = figures.filter(pl.col("commits") > 1)
    if not repeated.is_empty():
        yield HISTORY + "\n".join(f"| {figure} | {values} |" for _, figure, values, _ in repeated.iter_rows())
        yield ""


def _section(suites: Mapping[str, Any], title: str) -> Iterator[str]:
    """Yield what was measured on a kind of machine; the machine is named again only where it changes."""
    if not suites:
        yield f"No {title} was at hand: nothing on this page was measured on one."
        yield ""
    before = None
    for name, suite in suites.items():
        if (machine := _machine(suite["machine"])) != before:
            yield f"Measured on {machine}."
            yield ""
            before = machine
        yield f"### {name.capitalize()}"
        yield ""
        yield suite["about"]
        yield ""
        yield "| figure | value | target | | details |"
        yield "|---|---:|---|---|---|"
        for figure in suite["figures"]:
            yield f"| {' | '.join(_row(figure))} |"
        yield ""


def _row(figure: Mapping[str, Any]) -> Iterator[str]:
    yield figure["name"].replace("|", "\\|")
    yield f"{figure['value']:.3g} {figure['unit']}".strip()
    sign = "≤" if figure["better"] == "less" else "≥"
    yield "" if figure["target"] is None else f"{sign} {figure['target']:g}"
    yield {None: "", True: "holds", False: "**missed**"}[figure["holds"]]
    values = figure["details"].items()
    yield ", ".join(
        f"{key.replace('_', ' ')} {value:.3g}" if isinstance(value, (int, float)) else f"{key}: {value}"
        for key, value in values
    )


def _machine(about: Mapping[str, Any]) -> str:
    """Return a machine in words."""
    devices = f"{about['gpu']} beside " if about["gpu"] else ""
    cores = f"{about['cores']} core{'s' if about['cores'] != 1 else ''}, {about['threads']} threads"
    return (
        f"{devices}{about['cpu']} ({cores}), torch {about['torch']}, Python {about['python']}, commit {about['commit']}"
    )


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    defaults = [ROOT / "docs" / "results" / "performance" / "bench.json", ROOT / "docs" / "performance.md"]
    main(*(given + defaults[len(given) :]))
