"""Survival curves: the share of images that a budget leaves unbroken."""

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.metrics import survivors
from trustseg.records import MINIMAL, read_table
from trustseg.reporting import checks
from trustseg.reporting.condition_means import ValueTable, means_of
from trustseg.reporting.image_scores import Floats, patients_of
from trustseg.reporting.labels import describe_head
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Line, Panel, chart, looks, without_head
from trustseg.reporting.tables import Row, Table
from trustseg.statistics import Interval, bootstrap_statistic

__all__ = ["read_brackets", "survival_chart", "survival_table", "survivals"]

Brackets = dict[str, pl.DataFrame]
_POINTS: Final = 81  # of a curve
_LEVELS: Final = 255  # grey levels of a budget of 1


def read_brackets(results: Results) -> Brackets:
    """Return the smallest budgets of every variant that was searched for them: a row per image and model."""
    found: dict[str, list[pl.DataFrame]] = {}
    for cell in results.cells:
        path = cell.folder / "minimal.parquet"
        if path.is_file():
            found.setdefault(cell.variant, []).append(read_table(path, MINIMAL).select(*MINIMAL.columns))
    return {variant: pl.concat(tables) for variant, tables in found.items()}


def survival_table(data: ReportData, brackets: Brackets, *, draws: int) -> Table:
    """Return for each variant how many images were broken from the start, which never were, and the median budget."""
    rows: list[Row] = []
    for variant, frame in brackets.items():
        top = _top({variant: frame})
        rows.append(
            {
                "variant": variant,
                "tau": " and ".join(f"{tau:g}" for tau in sorted(frame["tau"].unique())),
                "images": frame["image"].n_unique(),
                "empty": frame.filter(pl.col("mask_px") == 0)["image"].n_unique(),
                "already_broken": _share(frame, "already_broken", draws),
                "median": _median(frame, top, draws),
                "censored": _share(frame, "censored", draws),
                "largest": _LEVELS * top,
                "trust": checks.trust(data.checks, variant),
            }
        )
    return data.table("survival", rows)


def survival_chart(data: ReportData, brackets: Brackets, *, draws: int) -> Chart:
    """Return the share of images not broken against the budget, one panel per head."""
    chosen, top = looks(data.results), _top(brackets)
    budgets = np.linspace(0, top, _POINTS)
    drawn: dict[str, list[Line]] = {}
    for variant, frame in brackets.items():
        own = budgets[budgets <= _top({variant: frame}) + 1e-9]
        upper, lower = (means_of(table, draws=draws) for table in survivals(frame, own))
        head = data.results.head_of(variant)
        line = Line(
            variant,
            (_LEVELS * own).tolist(),
            [share.value for share in upper],
            chosen[variant].of_one_head(),
            [_end(share.low, share.value) for share in lower],
            [_end(share.high, share.value) for share in upper],
            label=checks.marked(data.checks, variant, without_head(variant, head)),
        )
        drawn.setdefault(head, []).append(line)
    labels, limits = ("budget, grey levels", "share of images not broken"), ((0.0, _LEVELS * top), (0.0, 1.02))
    panels = [Panel(describe_head(head), *labels, tuple(lines), *limits) for head, lines in drawn.items()]
    tau = " or ".join(f"{tau:g}" for tau in sorted({tau for frame in brackets.values() for tau in frame["tau"]}))
    return chart("survival", panels, tau=tau, target=data.results.target)


def survivals(frame: pl.DataFrame, eps: Floats) -> tuple[ValueTable, ValueTable]:
    """Return whether each image is not known to break at some budgets (K,), and whether it is known to hold.

    Values are averaged over the models of a variant; see ``trustseg.metrics.survivors``.
    """
    lower, upper = survivors(frame["eps_holds"].to_numpy(), frame["eps_breaks"].to_numpy(), eps)
    return _image_means(frame, upper), _image_means(frame, lower)


def _image_means(frame: pl.DataFrame, values: NDArray[np.bool_]) -> ValueTable:
    """Return the mean of some values (rows, K) over the models, for each image."""
    columns = pl.from_numpy(values.astype(np.float64))
    means = frame.select("image", "patient").hstack(columns).group_by("image")
    found = means.agg(pl.col("patient").first(), pl.col(columns.columns).mean()).sort("image")
    return ValueTable(found["image"].to_list(), patients_of(found), found.select(columns.columns).to_numpy())


def _top(brackets: Brackets) -> float:
    """Return the largest budget that was tried and decided something."""
    ends = pl.concat([frame.select("eps_holds", "eps_breaks") for frame in brackets.values()])
    finite = ends.filter(pl.col("eps_breaks").is_finite())["eps_breaks"].max()
    return max(float(str(value)) for value in (ends["eps_holds"].max(), finite, 0.0) if value is not None)


def _share(frame: pl.DataFrame, column: str, draws: int) -> Interval:
    return means_of(_image_means(frame, frame[column].to_numpy()[:, None]), draws=draws)[0]


def _median(frame: pl.DataFrame, top: float, draws: int) -> Interval:
    """Return the median of the smallest budgets known to break, in grey levels; one that is censored counts as top."""
    levels = _LEVELS * frame["eps_breaks"].to_numpy().clip(max=top)
    found = bootstrap_statistic(lambda rows: float(np.median(levels[rows])), patients_of(frame), draws=draws)
    low, high = np.clip((found.low, found.high), levels.min(), levels.max())  # no budget beyond was tried
    return replace(found, low=float(low), high=float(high))


def _end(end: float, value: float) -> float:
    """Return the end of an interval, the value itself where there is none."""
    return value if np.isnan(end) else end
