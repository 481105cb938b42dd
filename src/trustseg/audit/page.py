"""The page of an audit: one file that asks nothing of a network, with its tables and figures in folders beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trustseg.audit.contents import AuditContents
from trustseg.audit.document import Document
from trustseg.audit.trust import OperatingPoint
from trustseg.audit.verdicts import Verdict, describe
from trustseg.errors import RunError
from trustseg.files import replacing, write_text
from trustseg.reporting.embedding import reduced, template_environment
from trustseg.reporting.labels import words
from trustseg.reporting.paper_figures import write_figure

__all__ = ["Picture", "write_page"]

_TIERS: Final = ("predictions alone", "a model without gradients", "a model with gradients")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on the page: what it shows, a sentence on it, the PNG, and whether the model is broken there."""

    title: str
    text: str
    png: bytes
    breaks: bool = True


def write_page(
    folder: Path,
    document: Document,
    verdicts: Sequence[Verdict],
    contents: AuditContents,
    pictures: Sequence[Picture],
    *,
    point: OperatingPoint | None,
    score: tuple[str, str],
) -> Path:
    """Write ``audit.html``, ``tables/``, ``figures/`` and return the page.

    Args:
        folder: where they go.
        document: the content of ``audit.json``.
        verdicts: on the requirements.
        contents: tables and figures.
        pictures: ways to break the model, or its worst cases.
        point: what the deferral policy achieves.
        score: measure and aggregation that it reads.

    Raises:
        RunError: if something cannot be written.
    """
    environment = template_environment("trustseg.audit", "trustseg.reporting")
    environment.globals |= {"tables": contents.tables}
    try:
        figures = {
            key: (chart, reduced(write_figure(chart, folder / "figures"))) for key, chart in contents.charts.items()
        }
        for table in contents.tables.values():
            write_text(folder / "tables" / f"{table.key}.csv", table.csv())
        for number, picture in enumerate(pictures, start=1):
            with replacing(folder / "figures" / f"case_{number}.png") as temporary:
                temporary.write_bytes(picture.png)
        page = environment.get_template("audit.html.jinja").render(
            document=document,
            verdicts=verdicts,
            asked=[describe(each.requirement) for each in verdicts],
            counts={name: sum(each.outcome == name for each in verdicts) for name in ("met", "not met", "not shown")},
            figures=figures,
            pictures=pictures,
            point=point,
            score=f"one minus the {words(score[1]).replace('dice', 'Dice')}" if "dice" in score[1] else words(score[1]),
            tier=_TIERS[document.model.tier],
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        write_text(folder / "audit.html", page)
    except OSError as error:
        raise RunError(f"cannot write the audit to '{folder}': {error.strerror or error}; choose another -o") from error
    return folder / "audit.html"
