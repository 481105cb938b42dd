"""Survival curves: the share of images that a budget leaves unbroken."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.metrics import survivors
from trustseg.records import MINIMAL, read_table
from trustseg.reporting.charts import head_curve, head_panels
from trustseg.reporting.image_scores import Floats, patients_of
from trustseg.reporting.report_data import ReportData, as_table
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Line, chart
from trustseg.reporting.tables import Row
from trustseg.reporting.value_tables import ValueTable, means_of
from trustseg.statistics import Interval, bootstrap_statistic

__all__ = ["Brackets", "read_brackets", "survival", "survival_chart", "survivals"]

Brackets = dict[str, pl.DataFrame]
_POINTS: Final = 81  # of a curve
_LEVELS: Final = 255  # grey levels of a budget of 1


def read_brackets(results: Results) -> Brackets:
    """Return the smallest budgets of every variant that was searched for them: a row per image and model."""
    found: dict[str, list[pl.DataFrame]] = {}
    for cell in results.cells:
        path = cell.folder / MINIMAL.name
        if path.is_file():
            found.setdefault(cell.variant, []).append(read_table(path, MINIMAL).select(*MINIMAL.columns))
    return {variant: pl.concat(tables) for variant, tables in found.items()}


@as_table
def survival(data: ReportData, brackets: Brackets) -> Iterator[Row]:
    """Yield for each variant how many images were broken from the start, which never were, and the median budget."""
    for variant, frame in brackets.items():
        top = _top(frame)
        already_broken, censored = (
            means_of(_image_means(frame, frame[column].to_numpy()[:, None]), draws=data.draws)[0]
            for column in ("already_broken", "censored")
        )
        yield {
            "variant": variant,
            "tau": " and ".join(f"{tau:g}" for tau in sorted(frame["tau"].unique())),
            "images": frame["image"].n_unique(),
            "empty": frame.filter(pl.col("mask_px") == 0)["image"].n_unique(),
            "already_broken": already_broken,
            "median": _median(frame, top, data.draws),
            "censored": censored,
            "largest": _LEVELS * top,
            "trust": data.trust(variant),
        }


def survival_chart(data: ReportData, brackets: Brackets) -> Chart:
    """Return the share of images not broken against the budget, one panel per head."""
    top = max(map(_top, brackets.values()), default=0.0)
    budgets = np.linspace(0, top, _POINTS)

    def shares(variant: str) -> Line | None:
        if variant not in brackets:
            return None
        tried = budgets[budgets <= _top(brackets[variant]) + 1e-9]
        upper, lower = (means_of(table, draws=data.draws) for table in survivals(brackets[variant], tried))
        intervals = [
            replace(
                above, low=np.nan_to_num(below.low, nan=above.value), high=np.nan_to_num(above.high, nan=above.value)
            )
            for above, below in zip(upper, lower, strict=True)
        ]
        return head_curve(data, variant, (_LEVELS * tried).tolist(), intervals, attacked=True, mode="lines")

    labels, across = ("budget, grey levels", "share of images not broken"), (0.0, _LEVELS * top)
    panels = head_panels(data, shares, *labels, x_range=across, y_range=(0.0, 1.02))
    tau = " or ".join(f"{tau:g}" for tau in sorted({tau for frame in brackets.values() for tau in frame["tau"]}))
    return chart("survival", panels, tau=tau, target=data.results.target)


def survivals(frame: pl.DataFrame, eps: Floats) -> tuple[ValueTable, ValueTable]:
    """Return whether each image is not known to break at some budgets (K,), and whether it is known to hold.

    Values are averaged over the models of a variant; see ``trustseg.metrics.survivors``.
    """
    lower, upper = survivors(frame["eps_holds"].to_numpy(), frame["eps_breaks"].to_numpy(), eps)
    return _image_means(frame, upper), _image_means(frame, lower)


def _image_means(frame: pl.DataFrame, values: NDArray[np.bool_]) -> ValueTable:
    columns = pl.from_numpy(values.astype(np.float64))
    means = frame.select("image", "patient").hstack(columns).group_by("image")
    found = means.agg(pl.col("patient").first(), pl.col(columns.columns).mean()).sort("image")
    return ValueTable(found["image"].to_list(), patients_of(found), found.select(columns.columns).to_numpy())


def _top(frame: pl.DataFrame) -> float:
    """Return the largest budget that was tried and decided something."""
    ends = frame["eps_holds"].to_list() + frame["eps_breaks"].to_list()
    return max((end for end in ends if np.isfinite(end)), default=0.0)


def _median(frame: pl.DataFrame, top: float, draws: int) -> Interval:
    """Return the median of the smallest budgets known to break, in grey levels; one that is censored counts as top."""
    levels = _LEVELS * frame["eps_breaks"].to_numpy().clip(max=top)
    median = bootstrap_statistic(lambda rows: float(np.median(levels[rows])), patients_of(frame), draws=draws)
    low, high = np.clip((median.low, median.high), levels.min(), levels.max())  # no budget beyond was tried
    return replace(median, low=float(low), high=float(high))
