"""One self-contained page from the evidence of a study, with its tables and figures beside it."""

import base64
import gzip
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jinja2
import plotly.offline
import yaml
from markupsafe import Markup
from PIL import Image

from trustseg import __version__
from trustseg.config.privacy import command_without_folders, settings_without_folders, without_paths_of
from trustseg.errors import RunError
from trustseg.files import write_text
from trustseg.reporting.answers import METRIC_NAMES, all_tables, comparisons, headlines
from trustseg.reporting.charts import all_charts
from trustseg.reporting.choices import describe_condition, words
from trustseg.reporting.costs import costs
from trustseg.reporting.decomposition import draw_decomposition
from trustseg.reporting.doses import dose_charts, dose_table
from trustseg.reporting.findings import find_suspicions
from trustseg.reporting.gallery import Case, draw_case, load_gallery
from trustseg.reporting.hypotheses import Outcome, hold_hypotheses, hypothesis_table
from trustseg.reporting.overview import compact, first_screen
from trustseg.reporting.paper_figures import write_figure
from trustseg.reporting.plotly_figures import draw_plotly
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import is_generated, load_results, settings_of
from trustseg.reporting.series import Chart
from trustseg.reporting.stress import Stress, put_under_stress
from trustseg.reporting.subgroups import subgroup_table
from trustseg.reporting.tables import Table, number_text
from trustseg.reporting.trust import Trust, weigh_trust
from trustseg.tables import csv_text

__all__ = ["build_report"]

QUESTION: Final = (
    "Does adversarial training that attacks the most uncertain images give a segmentation model that is accurate, "
    "robust and knows when it is wrong?"
)

_STEPS: Final = 7


def build_report(
    folder: Path,
    *,
    gallery: bool = True,
    output: Path | None = None,
    draws: int = 2000,
    report: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``report.html``, ``tables/`` and ``figures/`` of a study and return the page.

    The page is one file that asks nothing of a network. A study with missing cells gets a report on the others, which
    says so on its first screen.

    Args:
        folder: a study folder.
        gallery: show cases; they are pictures of patients unless the images were generated.
        output: the page; tables and figures go beside it. ``folder / "report.html"`` by default.
        draws: bootstrap draws of every interval, > 0.
        report: called with the steps that are done and those in all after each.

    Returns:
        The page written.

    Raises:
        MissingFileError: if the folder is not there or no cell has finished.
        DataError: if a file in it cannot be read.
        RunError: if the report cannot be written.
    """
    tell = report or (lambda done, total: None)
    evidence = collect(load_results(folder), draws=draws)
    tell(1, _STEPS)
    stress = put_under_stress(evidence, draws=draws)
    tell(2, _STEPS)
    trust = weigh_trust(evidence, draws=draws)
    tell(3, _STEPS)
    outcomes = hold_hypotheses(evidence, draws=draws)
    tell(4, _STEPS)
    others = (
        hypothesis_table(outcomes),
        dose_table(evidence, draws=draws),
        costs(evidence),
        subgroup_table(evidence, draws=draws),
    )
    tables = all_tables(evidence) | stress.tables | trust.tables | {table.key: table for table in others}
    tell(5, _STEPS)
    doses = dose_charts(evidence, tables["dose_response"])
    charts = (
        all_charts(evidence, names=gallery or is_generated(evidence.results)) | stress.charts | trust.charts | doses
    )
    cases = load_gallery(evidence.results) if gallery else []
    page = output or folder / "report.html"
    try:
        pictures = {key: write_figure(chart, page.parent / "figures") for key, chart in charts.items()}
        tell(6, _STEPS)
        for table in tables.values():
            write_text(page.parent / "tables" / f"{table.key}.csv", table.csv())
            write_text(page.parent / "tables" / f"{table.key}.tex", table.latex())
        write_text(page.parent / "tables" / "summary.md", compact(evidence).markdown())
        write_text(page, _render(evidence, stress, trust, outcomes, tables, charts, pictures, cases, draws=draws))
    except OSError as error:
        raise RunError(
            f"cannot write the report {page}: {error.strerror or error}; expected a folder with free space that may be "
            "written; free some space or choose another place with --output"
        ) from error
    tell(_STEPS, _STEPS)
    return page


def _render(
    evidence: ReportData,
    stress: Stress,
    trust: Trust,
    outcomes: Sequence[Outcome],
    tables: Mapping[str, Table],
    charts: Mapping[str, Chart],
    pictures: Mapping[str, bytes],
    cases: list[Case],
    *,
    draws: int,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trustseg.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"csv": csv_text, "data_uri": _data_uri, "words": words, "number": number_text}
    results, choices = evidence.results, evidence.choices
    return environment.get_template("report.html.jinja").render(
        title=str(results.study.get("name") or results.folder.name),
        question=QUESTION,
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        facts=_facts(evidence, draws),
        headlines=headlines(evidence),
        comparisons=comparisons(evidence),
        suspicions=find_suspicions(evidence),
        stress=stress,
        trust=trust,
        hypotheses=outcomes,
        missing=_missing(evidence),
        tables=tables,
        first_screen=first_screen(evidence),
        generated=is_generated(results),
        charts={key: (chart, Markup(draw_plotly(chart)), _reduced(pictures[key])) for key, chart in charts.items()},
        cases=[(case, draw_case(case), draw_decomposition(case)) for case in cases],
        metric_names=METRIC_NAMES,
        describe=describe_condition,
        measures=sorted({words(measure) for measure in choices.measures.values()}),
        heads={cell.head for cell in results.cells},
        provenance=_provenance(evidence),
        reading=_reading(evidence),
        study_text=_settings_text(results.study),
        configs=[(cell.id, _settings_text(settings_of(cell))) for cell in results.cells],
        plotly=base64.b64encode(gzip.compress(plotly.offline.get_plotlyjs().encode(), mtime=0)).decode(),
        mapping=_MAPPING,
    )


def _facts(evidence: ReportData, draws: int) -> list[tuple[str, str]]:
    """Return the numbers under the title: value and what it counts."""
    results = evidence.results
    records = results.records
    folds = {cell.fold for cell in results.cells}
    return [
        (str(records["patient"].n_unique()), "patients tested"),
        (str(records["image"].n_unique()), "test images"),
        (str(len(results.variants)), "variants"),
        ("1", "given split") if folds == {-1} else (str(len(folds)), "folds"),
        (str(len({cell.seed for cell in results.cells})), "seeds"),
        (f"{len(results.cells)} of {len(results.cells) + len(results.missing)}", "runs finished"),
        (str(draws), "bootstrap draws"),
    ]


def _missing(evidence: ReportData) -> list[tuple[str, str, list[str]]]:
    """Return the variants that lack runs, each with a reason and the names of those runs; failed ones first."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in sorted(evidence.results.missing, key=lambda cell: not cell.reason.startswith("failed")):
        reason = without_paths_of(evidence.results.study, cell.reason)
        found.setdefault((cell.variant, reason), []).append(cell.id)
    return [(*key, names) for key, names in found.items()]


def _provenance(evidence: ReportData) -> list[tuple[str, str]]:
    """Return every fact of the runs' provenance once, with all values that occur."""
    found: dict[str, dict[str, None]] = {}
    for cell in evidence.results.cells:
        for key, value in _flat("", cell.provenance.model_dump(exclude_unset=True)):
            found.setdefault(key, {})[_command(value) if key == "command" else value] = None
    return [(key, ", ".join(values) if len(values) <= 3 else f"{len(values)} values") for key, values in found.items()]


def _reading(evidence: ReportData) -> list[str]:
    """Return what was noted while the images of the runs were read, each sentence once."""
    return list(dict.fromkeys(note for cell in evidence.results.cells for note in cell.provenance.data.notes or ()))


def _settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as YAML whose paths keep only their last names: where data lay is nobody's business."""
    return yaml.safe_dump(settings_without_folders(settings), sort_keys=False, allow_unicode=True)


def _command(text: str) -> str:
    """Return a command without folders, also one that an earlier version wrote with them."""
    try:
        return command_without_folders(shlex.split(text))
    except ValueError:
        return "..."


def _flat(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name == "data.notes":  # sentences, which have a paragraph of their own
            continue
        pairs += _flat(f"{name}.", value) if isinstance(value, Mapping) else [(name, str(value))]
    return pairs


def _reduced(png: bytes) -> bytes:
    """Return a drawing with a palette of 64 colours, about a third of the bytes; for the page, beside the full one."""
    picture = io.BytesIO()
    with Image.open(io.BytesIO(png)) as drawing:
        drawing.convert("RGB").quantize(64).save(picture, format="PNG", optimize=True)
    return picture.getvalue()


def _data_uri(content: bytes | str, kind: str) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


# Article of the EU AI Act (Regulation 2024/1689), what it asks for, what of this page may serve, and how far.
_MAPPING: Final = (
    ("Art. 9", "risk management", "failure modes with numbers: robustness, uncertainty shift, gallery", "user"),
    ("Art. 10(2)-(3)", "data governance", "data digest, patient counts, split by patient", "partly"),
    ("Art. 13(3)", "instructions for use", "scores with intervals, conditions that lower them, limitations", "partly"),
    ("Art. 14(4)(a)", "limits and anomalies", "limitations, suspicions, uncertainty under attack", "partly"),
    ("Art. 14(4)(c)", "interpreting the output", "how-to-read paragraphs, calibration, gallery", "partly"),
    ("Art. 15(1), (3)", "declared accuracy", "Dice and IoU with intervals, AUSE, AURC, ECE", "partly"),
    (
        "Art. 15(5)",
        "resilience to evasion",
        "curves for each attack and budget; poisoning not tested",
        "partly",
    ),
)
