"""What uncertainty costs: forward passes and time of one prediction, beside its quality."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

from trustseg.reporting.choices import words
from trustseg.reporting.report_data import Metric, ReportData
from trustseg.reporting.results import FinishedCell
from trustseg.reporting.tables import Column, Table, Value
from trustseg.run_files import Evaluation, read_checked

__all__ = ["costs"]

_CLEAN: Final = ("clean", 0.0)
_METRICS: Final[tuple[Metric, ...]] = ("dice", "nause", "aurc", "ece")


def costs(evidence: ReportData) -> Table:
    """Return one row per variant: what a model takes to train and a clean prediction to make, and how good it is.

    Variants whose evaluation did not tell its cost are left out.
    """
    results = evidence.results
    training = {cell.id: cell.done.seconds_training for cell in results.cells}
    ranked = " or ".join(sorted({words(measure) for measure in evidence.choices.measures.values()}))
    columns = (
        Column("variant", "Variant"),
        Column("models", "Networks"),
        Column("seconds_training", "Training, s", digits=0),
        Column("passes", "Forward passes per image"),
        Column("milliseconds", "Milliseconds per image", digits=2),
        Column("dice", "Dice per image"),
        Column("nause", f"pixel nAUSE ({ranked}) ↓"),
        Column("aurc", f"image AURC ({ranked}) ↓"),
        Column("ece", "ECE ↓"),
    )
    rows: list[dict[str, Value]] = []
    told: list[Evaluation] = []
    for variant in results.variants:
        cells = results.cells_of(variant)
        found = [cost for cell in cells if (cost := _cost(cell)) is not None]
        if not found:
            continue
        told += found
        row: dict[str, Value] = {
            "variant": variant,
            "models": max(len(cell.members) or 1 for cell in cells),
            "seconds_training": median(
                sum(training.get(name, math.nan) for name in cell.members or (cell.id,)) for cell in cells
            ),
            "passes": max(cost.passes for cost in found),
            "milliseconds": 1000 * median(cost.seconds_per_image for cost in found),
        }
        rows.append(row | {metric: evidence.score(variant, _CLEAN, metric) for metric in _METRICS})
    return Table("costs", f"What uncertainty costs, on unchanged images. {_timing(told)}", columns, tuple(rows))


def _cost(cell: FinishedCell) -> Evaluation | None:
    """Return what an evaluation says of its cost, None where it says nothing."""
    path = cell.folder / "evaluation.json"
    content = read_checked(path, Evaluation) if path.is_file() else Evaluation()
    return content if {"passes", "seconds_per_image"} <= content.model_fields_set else None


def _timing(told: Sequence[Evaluation]) -> str:
    """Return where and how the times were taken, and whether they can be compared."""
    places = {f"{cost.timed_on}, {cost.timed_threads} threads, batches of {cost.timed_batch_size}" for cost in told}
    where = f"Times: median over the runs; a prediction's is that of 3 batches on {' or '.join(sorted(places))}"
    return f"{where}; times taken differently are not comparable." if len(places) > 1 else f"{where}."
