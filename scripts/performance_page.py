"""Write docs/performance.md from what ``make bench`` measured.

    make bench && cp runs/bench.json docs/results/performance/bench.json
    python scripts/performance_page.py [JSON [PAGE]]

Without arguments the JSON is docs/results/performance/bench.json and the page docs/performance.md.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

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
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


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
