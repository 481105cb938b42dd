"""One self-contained page from the numbers of a study, with its tables and figures in folders next to it."""

import base64
import gzip
import io
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jinja2
import plotly.offline
import yaml
from markupsafe import Markup
from PIL import Image

from trustseg import __version__
from trustseg.config.keys import flattened
from trustseg.config.privacy import command_without_folders, settings_without_folders, without_paths_of
from trustseg.errors import RunError
from trustseg.files import write_text
from trustseg.progress import ProgressCallback
from trustseg.reporting.checks import check_matrix, checks_not_run, failed_checks
from trustseg.reporting.contents import STEPS, Contents, build_contents, limits
from trustseg.reporting.deferral import describe_aim, describe_deferral
from trustseg.reporting.detection import populations_of, same_orders
from trustseg.reporting.differences import pairs
from trustseg.reporting.drawing import draw_plotly, write_figure
from trustseg.reporting.findings import find_caveats, strongest_facts, use_and_population
from trustseg.reporting.gallery import Case, draw_case, draw_decomposition, load_gallery, write_cases
from trustseg.reporting.labels import shown_as, template_texts, words
from trustseg.reporting.overview import compact_table, comparisons, first_screen, headlines
from trustseg.reporting.own_labels import OwnLabels, load_labels, with_labels
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import Results, is_generated, load_results
from trustseg.reporting.robustness import ensemble_check
from trustseg.reporting.series import DASHES, SYMBOLS
from trustseg.reporting.shifted import table_version
from trustseg.reporting.tables import number_text
from trustseg.tables import csv_text
from trustseg.text import plural

__all__ = ["build_report", "data_uri", "shrink_png", "template_environment"]

_STEPS: Final = STEPS + 3


def build_report(
    folder: Path,
    *,
    gallery: bool = True,
    output: Path | None = None,
    labels: Path | None = None,
    draws: int = 2000,
    report: ProgressCallback | None = None,
) -> Path:
    """Write ``report.html``, ``tables/`` and ``figures/`` of a study and return the page.

    The page is one file that asks nothing of a network. A study with missing cells gets a report on the others, which
    says so on its first screen.

    Args:
        folder: a study folder.
        gallery: show cases; they are pictures of patients unless the images were generated.
        output: the page; tables and figures go to its folder. ``folder / "report.html"`` by default.
        labels: YAML file with names and words of your own, see ``load_labels``.
        draws: bootstrap draws of every interval, > 0.
        report: called with the steps that are done and those in all after each.

    Raises:
        MissingFileError: if the folder is not there or no cell has finished.
        DataError: if a file in it cannot be read.
        ConfigError: if the labels name what the study does not have.
        RunError: if the report cannot be written.
    """
    results = load_results(folder, draws=draws)
    own = load_labels(labels, results) if labels else OwnLabels()
    page = output or folder / "report.html"
    with shown_as(own.conditions):
        _build(with_labels(results, own), page, gallery=gallery, report=report)
    return page


def _build(results: Results, page: Path, *, gallery: bool, report: ProgressCallback | None) -> None:
    tell = report or (lambda done, total: None)
    data = collect(results)
    tell(1, _STEPS)
    names = gallery or is_generated(results)
    contents = build_contents(data, names=names, report=lambda done: tell(1 + done, _STEPS))
    cases = load_gallery(data.results, contents.deferrals.decided) if gallery else []
    baselines = list(dict.fromkeys(baseline for (_, baseline), rank in pairs(results).items() if rank == 0))
    try:
        pictures = {key: write_figure(chart, page.parent / "figures") for key, chart in contents.charts.items()}
        tell(_STEPS - 1, _STEPS)
        write_cases(cases, page.parent / "figures")
        for table in contents.tables.values():
            short = compact_table(data) if table.key == "summary" else table
            write_text(page.parent / "tables" / f"{table.key}.csv", table.csv())
            write_text(page.parent / "tables" / f"{table.key}.tex", short.latex(baselines))
        write_text(page.parent / "tables" / "summary.md", compact_table(data).markdown())
        write_text(page, _render(data, contents, pictures, cases))
    except OSError as error:
        raise RunError(
            f"cannot write the report {page}: {error.strerror or error}; free some space or choose another --output"
        ) from error
    tell(_STEPS, _STEPS)


def _render(data: ReportData, contents: Contents, pictures: Mapping[str, bytes], cases: list[Case]) -> str:
    environment = template_environment("trustseg.reporting")
    charts = {
        key: (chart, Markup(draw_plotly(chart)), shrink_png(pictures[key])) for key, chart in contents.charts.items()
    }
    environment.globals |= {"tables": contents.tables, "charts": charts, "target": data.results.target}
    environment.globals |= {"dashes": DASHES, "symbols": SYMBOLS}
    results, report_settings = data.results, data.results.report_settings
    return environment.get_template("report.html.jinja").render(
        title=report_settings.title or results.study.get("name") or results.folder.name,
        question=report_settings.question,
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        facts=_facts(data),
        headlines=headlines(data),
        one_training=all(item.tentative for item in data.differences),
        comparisons=comparisons(data),
        caveats=find_caveats(data),
        strongest=strongest_facts(data, contents.deferrals),
        use=use_and_population(data, limits(data, contents.deferrals)),
        doubts=failed_checks(data.checks),
        check_matrix=check_matrix(data.checks),
        unchecked=checks_not_run(data.checks),
        ensemble=ensemble_check(data),
        shift_table=table_version(results),
        aims=[describe_aim(*target, name=results.target) for target in contents.deferrals.targets],
        tau=contents.tau,
        deferral_findings=describe_deferral(data, contents.deferrals),
        same_orders=same_orders(data),
        populations=[words(name) for name in populations_of(results)],
        hypotheses=contents.outcomes,
        missing=_missing(data),
        first_screen=first_screen(data),
        generated=is_generated(results),
        cases=[
            (case, *((draw_case(case, narrow=each), draw_decomposition(case, narrow=each)) for each in (False, True)))
            for case in cases
        ],
        measures=sorted({words(measure) for measure in data.measures.values()}),
        heads=results.heads,
        provenance=_provenance(data),
        reading=list(dict.fromkeys(note for cell in results.cells for note in cell.provenance.data.notes or ())),
        study_text=_settings_text(results.study),
        configs=[(cell.id, _settings_text(cell.settings)) for cell in results.cells],
        plotly=base64.b64encode(gzip.compress(plotly.offline.get_plotlyjs().encode(), mtime=0)).decode(),
        regulation=template_texts("ai_act"),
    )


def _facts(data: ReportData) -> list[tuple[str, str]]:
    results = data.results
    folds = {cell.fold for cell in results.cells}

    def counted(count: int, noun: str) -> tuple[str, str]:
        value, _, words = plural(count, noun).partition(" ")
        return value, words

    return [
        counted(results.records["patient"].n_unique(), f"{'invented ' if is_generated(results) else ''}patient"),
        counted(results.records["image"].n_unique(), "test image"),
        counted(len(results.variants), "variant"),
        ("1", "fixed split") if folds == {-1} else counted(len(folds), "fold"),
        counted(len({cell.seed for cell in results.cells}), "seed"),
        (f"{len(results.cells)} of {len(results.cells) + len(results.missing)}", "runs finished"),
        (str(data.draws), "bootstrap draws"),
    ]


def _missing(data: ReportData) -> list[tuple[str, str, list[str]]]:
    """Return the variants that lack runs, each with a reason and the names of those runs; failed ones first."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in sorted(data.results.missing, key=lambda cell: not cell.reason.startswith("failed")):
        reason = without_paths_of(data.results.study, cell.reason)
        found.setdefault((cell.variant, reason), []).append(cell.id)
    return [(*key, names) for key, names in found.items()]


def _provenance(data: ReportData) -> list[tuple[str, str]]:
    """Return every fact of the runs' provenance once, with all values that occur."""
    found: dict[str, dict[str, None]] = {}
    for cell in data.results.cells:
        for key, value in flattened(cell.provenance.model_dump(exclude_unset=True)).items():
            if key != "data.notes":  # sentences, which have a paragraph of their own
                found.setdefault(key, {})[_command(str(value)) if key == "command" else str(value)] = None
    return [(key, ", ".join(values) if len(values) <= 3 else f"{len(values)} values") for key, values in found.items()]


def _settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as YAML whose paths keep only their last names: where data lay is private."""
    return yaml.safe_dump(settings_without_folders(settings), sort_keys=False, allow_unicode=True)


def _command(text: str) -> str:
    """Return a command without folders, also one that an earlier version wrote with them."""
    try:
        return command_without_folders(shlex.split(text))
    except ValueError:
        return "..."


def template_environment(*packages: str) -> jinja2.Environment:
    """Return the environment of the templates of some packages; an earlier one hides those of a later."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"csv": csv_text, "data_uri": data_uri, "words": words, "number": number_text}
    return environment


def data_uri(content: bytes | str, kind: str) -> str:
    """Return content as an address that holds it, of a MIME type.

    Example:
        >>> data_uri("a", "text/csv")
        'data:text/csv;base64,YQ=='
    """
    raw = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def shrink_png(png: bytes) -> bytes:
    """Return a drawing for a page: half the size of the one for print, and a palette of 64 colours."""
    picture = io.BytesIO()
    with Image.open(io.BytesIO(png)) as drawing:
        drawing.convert("RGB").reduce(2).quantize(64).save(picture, format="PNG", optimize=True)
    return picture.getvalue()
