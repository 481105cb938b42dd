"""The cost of uncertainty: forward passes and time of one prediction, and its quality."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.labels import CLEAN, words
from trustseg.reporting.report_data import Metric, ReportData
from trustseg.reporting.tables import Row, Table
from trustseg.run_files import Evaluation, read_checked

__all__ = ["costs"]

_METRICS: Final[tuple[Metric, ...]] = ("dice", "nause", "aurc", "ece")


def costs(data: ReportData) -> Table:
    """Return one row per variant: what a model takes to train and a clean prediction to make, and how good it is.

    Variants whose evaluation did not record its cost are left out.
    """
    results = data.results
    training = {cell.id: cell.done.seconds_training for cell in results.cells}
    rows: list[Row] = []
    recorded: list[Evaluation] = []
    for variant in results.variants:
        cells = results.cells_of(variant)
        found = [cost for cell in cells if (cost := _cost(cell)) is not None]
        if not found:
            continue
        recorded += found
        seconds = [sum(training.get(name, math.nan) for name in cell.members or (cell.id,)) for cell in cells]
        row: Row = {
            "variant": variant,
            "models": max(len(cell.members) or 1 for cell in cells),
            "seconds_training": median(seconds),
            "passes": max(cost.passes for cost in found),
            "milliseconds": 1000 * median(cost.seconds_per_image for cost in found),
        }
        rows.append({**row, **{metric: data.score(variant, CLEAN, metric) for metric in _METRICS}})
    ranked = " or ".join(sorted({words(measure) for measure in data.choices.measures.values()}))
    return data.table("costs", rows, ranked=ranked, timing=_timing(recorded))


def _cost(cell: FinishedCell) -> Evaluation | None:
    """Return what an evaluation says of its cost, None where it says nothing."""
    path = cell.folder / "evaluation.json"
    content = read_checked(path, Evaluation) if path.is_file() else Evaluation()
    return content if {"passes", "seconds_per_image"} <= content.model_fields_set else None


def _timing(recorded: Sequence[Evaluation]) -> str:
    """Return where and how the times were taken, and whether they can be compared."""
    places = {f"{cost.timed_on}, {cost.timed_threads} threads, batches of {cost.timed_batch_size}" for cost in recorded}
    where = f"Times: median over the runs; a prediction's is that of 3 batches on {' or '.join(sorted(places))}"
    return f"{where}; times taken differently are not comparable." if len(places) > 1 else f"{where}."
