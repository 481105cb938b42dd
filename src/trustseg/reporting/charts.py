"""The figures of the scores: which series they show."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Final

import numpy as np
import polars as pl

from trustseg.metrics import error_of_kept, sparsification_from_counts
from trustseg.reporting.cell_tables import load_calibration, load_histogram, load_training
from trustseg.reporting.checks import marked
from trustseg.reporting.image_scores import Floats, ImageScores, per_image, read_scores
from trustseg.reporting.labels import (
    ConditionKey,
    budget,
    describe_attack,
    describe_condition,
    describe_head,
    is_l2,
    words,
)
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Line, Look, Panel, chart, curve, without_head
from trustseg.statistics import Interval

__all__ = ["CHARTS", "head_curve", "mean_risk_coverage", "risk_panels", "shift", "top_of"]

_MOST_POINTS: Final = 200
_REMOVED: Final = np.linspace(0.0, 0.99, 100)  # shares of pixels
_UNIT: Final = (-0.03, 1.03)  # so that points at 0 and 1 are seen whole
_LOGGED: Final = {
    "train_loss": "training loss",
    "validation_dice": "validation Dice, clean",
    "validation_robust_dice": "validation Dice, attacked",
}


def head_curve(
    data: ReportData,
    variant: str,
    x: Sequence[float],
    intervals: Sequence[Interval],
    *,
    attacked: bool = False,
    **drawn: Any,  # noqa: ANN401 - of curve
) -> Line:
    """Return the line of a variant for a panel of its head; attacked: marked in the legend if a check failed."""
    look, label = _in_head(data, variant)
    return curve(variant, x, intervals, look, label=marked(data.checks, variant, label) if attacked else label, **drawn)


def _in_head(data: ReportData, variant: str) -> tuple[Look, str]:
    """Return how a variant is drawn and called in a panel of its head."""
    return data.looks[variant].of_one_head(), without_head(variant, data.results.head_of(variant))


def top_of(lines: Sequence[Line]) -> float:
    """Return the upper limit of an axis of scores in [0, 1]: a little above the highest value and interval."""
    ends = [end for line in lines for end in (*line.y, *line.high) if np.isfinite(end)]
    return min(1.02, 1.08 * max(ends, default=1.0))


def differences(data: ReportData) -> Chart:
    """Return the paired differences in Dice as a forest plot, one panel for each condition of the headline."""
    shown = [item for item in data.differences if item.metric == "dice"]
    ends = [0.0, *(e for i in shown for e in (i.interval.value, i.interval.low, i.interval.high) if np.isfinite(e))]
    margin = 0.05 * (max(ends) - min(ends))
    limits = (min(ends) - margin, max(ends) + margin)
    panels = []
    for condition in data.choices.conditions:
        lines, rows = [], {}
        found = [item for item in shown if item.condition == condition]
        for height, item in zip(range(len(found), 0, -1), found, strict=True):
            name = rows[float(height)] = f"{item.variant} - {data.results.cells_of(item.baseline)[0].selection}"
            look, texts = data.looks[item.variant], [item.verdict + item.mark]
            lines.append(curve(name, [height], [item.interval], look, mode="markers", texts=texts).transposed())
        labels, heights = ("difference in Dice per image", ""), (0.4, len(found) + 0.6)
        title = describe_condition(condition)
        panels.append(Panel(title, *labels, tuple(lines), limits, heights, zero=True, y_ticks=rows))
    return chart("differences", panels, len(panels), horizontal=True)


def robustness(data: ReportData) -> Chart:
    """Return Dice against the budget, one panel for each attack and head."""
    drawn = {
        (attack, head): [_ladder(data, variant, attack) for variant in variants]
        for attack in data.choices.attacks_with_curves
        for head, variants in data.results.heads.items()
    }
    limits = (0.0, top_of([line for lines in drawn.values() for line in lines]))
    panels = [
        Panel(
            f"{describe_attack(attack)}, {describe_head(head)}",
            "L2 norm of the change" if is_l2(attack) else "largest change of a pixel, in grey levels of 255",
            "Dice per image",
            tuple(lines),
            y_range=limits,
        )
        for (attack, head), lines in drawn.items()
    ]
    return chart("robustness_dice", panels, max(2, len(data.results.heads)))


def _ladder(data: ReportData, variant: str, attack: str) -> Line:
    held = data.evaluated(variant, data.choices.curve(attack))
    intervals = [data.robustness[variant, condition]["dice"] for condition in held]
    return head_curve(data, variant, [budget((attack, eps)) for _, eps in held], intervals, attacked=True)


def sparsification(data: ReportData) -> Chart:
    """Return the pixel sparsification curves and their gap to the oracle, clean and attacked."""
    curves, gaps, highest = [], [], 1.0
    removed = "share of least sure pixels removed"
    for condition in data.choices.compared:
        title = describe_condition(condition)
        kept: list[Line] = []
        missed: list[Line] = []
        for variant, measure in data.choices.measures.items():
            model, oracle = mean_sparsification(data, variant, condition)
            if np.isnan(model).any():
                continue
            highest = max(highest, float(model.max()))
            for lines, values in ((kept, model), (missed, model - oracle)):
                name = f"{variant} ({words(measure)})"
                lines.append(Line(name, _REMOVED.tolist(), values.tolist(), data.looks[variant]))
        curves.append((f"{title}: errors left", tuple(kept)))
        gaps.append(Panel(f"{title}: gap to the oracle", removed, "gap", tuple(missed), (0, 1)))
    left = "error rate / initial rate"
    panels = [Panel(title, removed, left, lines, (0, 1), (0, 1.05 * highest)) for title, lines in curves]
    return chart("sparsification", [*panels, *gaps], len(panels))


def risk_coverage(data: ReportData) -> Chart:
    """Return mean 1 - Dice of the kept images against the share kept, clean and attacked."""
    drawn: dict[str, list[Line]] = {}
    for condition in data.choices.compared:
        lines = drawn.setdefault(describe_condition(condition), [])
        for variant, column in data.choices.columns.items():
            scores = read_scores(data.results, variant, condition, column)
            if scores.images:
                coverage, risk = mean_risk_coverage(scores)
                name = f"{variant} ({words(column)})"
                lines.append(Line(name, coverage.tolist(), risk.tolist(), data.looks[variant]))
    return chart("risk_coverage", risk_panels(drawn, 1))


def risk_panels(drawn: Mapping[str, Sequence[Line]], right: float) -> list[Panel]:
    """Return panels of risk-coverage curves on one scale."""
    highest = max((value for lines in drawn.values() for line in lines for value in line.y), default=1.0)
    limits = (0, right), (0, 1.08 * highest)
    labels = "share of images kept", "mean 1 - Dice of the kept"
    return [Panel(title, *labels, tuple(lines), *limits) for title, lines in drawn.items()]


def reliability(data: ReportData) -> Chart:
    """Return the share of reference pixels against the mean probability per bin, clean and attacked."""
    target = data.results.target
    panels = []
    for condition in data.choices.compared:
        lines = []
        for variant, look in data.looks.items():
            frame = pl.concat([load_calibration(cell, condition) for cell in data.results.cells_of(variant)])
            sums = frame.group_by("bin").agg(pl.exclude("patient", "bin").sum()).filter(pl.col("count") > 0).sort("bin")
            x, y = (sums[name] / sums["count"] for name in ("sum_probability", "sum_reference"))
            texts = [f"{count:,} pixels" for count in sums["count"]]
            lines.append(Line(variant, x.to_list(), y.to_list(), look, mode="lines+markers", texts=texts))
        labels = f"predicted {target} probability", f"share of {target} pixels"
        panels.append(Panel(describe_condition(condition), *labels, tuple(lines), _UNIT, _UNIT, diagonal=True))
    return chart("reliability", panels, target=target)


def shift(data: ReportData, *, names: bool = True) -> Chart:
    """Return image uncertainty under the headline attack against clean, one panel for each head and measure.

    Images are named, or numbered.
    """
    images = data.results.records["image"].unique(maintain_order=True)
    texts = {image: image if names else f"image {number}" for number, image in enumerate(images, start=1)}
    drawn: dict[tuple[str, str], list[Line]] = {}
    for variant in data.shifted:
        key = data.results.head_of(variant), data.choices.columns[variant]
        drawn.setdefault(key, []).append(_points(data, variant, texts))
    labels = "uncertainty, clean image", "uncertainty, attacked image"
    panels = [
        Panel(f"{describe_head(head)}: {words(column)}", *labels, tuple(lines), diagonal=True)
        for (head, column), lines in drawn.items()
    ]
    attack = describe_condition(data.choices.compared[-1])
    return chart("shift", panels, attack=attack, most=_MOST_POINTS)


def _points(data: ReportData, variant: str, texts: Mapping[str, str]) -> Line:
    column = data.choices.columns[variant]
    clean, attacked = (
        per_image(data.results, variant, condition).select("image", column) for condition in data.choices.compared
    )
    frame = clean.join(attacked, on="image", suffix="_attacked").drop_nulls().sort(column, "image")
    frame = frame.gather_every(max(1, -(-len(frame) // _MOST_POINTS)))
    x, y = (frame[name].to_list() for name in (column, f"{column}_attacked"))
    look, label = _in_head(data, variant)
    return Line(variant, x, y, look, mode="markers", texts=[texts[image] for image in frame["image"]], label=label)


def training(data: ReportData) -> Chart:
    """Return the training log, averaged over folds and seeds, one panel for each head and quantity."""
    logs = {
        variant: [log for cell in data.results.cells_of(variant) if (log := load_training(cell)) is not None]
        for variant in data.results.variants
    }
    panels = []
    for (head, variants), (column, title) in product(data.results.heads.items(), _LOGGED.items()):
        lines = []
        for variant in variants:
            held = [
                log.select("epoch", pl.col(column).cast(pl.Float64)).drop_nulls()
                for log in logs[variant]
                if column in log.columns
            ]
            if not sum(map(len, held)):
                continue
            value = pl.col(column)
            means = pl.concat(held).group_by("epoch").agg(value.mean(), low=value.min(), high=value.max()).sort("epoch")
            means = means.with_columns(pl.col("epoch") + 1)  # the log counts from 0, people count from 1
            epochs, values, low, high = (means[name].to_list() for name in ("epoch", column, "low", "high"))
            mode = "lines" if len(epochs) > 1 else "lines+markers"  # one validation is a point, not a line
            look, label = _in_head(data, variant)
            lines.append(Line(variant, epochs, values, look, low, high, mode, label=label))
        if lines:
            panels.append(Panel(f"{title}, {describe_head(head)}", "epoch", title.split(",")[0], tuple(lines)))
    return chart("training", panels, len(panels) // len(data.results.heads) or 1)


def mean_sparsification(data: ReportData, variant: str, condition: ConditionKey) -> tuple[Floats, Floats]:
    """Return error left / initial error after removing each fraction: of the measure, of an oracle; seed means."""
    cells = data.results.cells_of(variant)
    curves = []
    for seed in sorted({cell.seed for cell in cells}):
        frames = [
            load_histogram(cell, condition, data.choices.measures[variant]) for cell in cells if cell.seed == seed
        ]
        sums = pl.concat(frames).group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
        if sums.is_empty():  # a published run without tables of pixels
            return np.full_like(_REMOVED, np.nan), np.full_like(_REMOVED, np.nan)
        curve = sparsification_from_counts(sums["count"].to_numpy(), sums["wrong"].to_numpy(), _REMOVED)
        curves.append((curve.model, curve.oracle))
    model, oracle = np.mean(curves, axis=0)
    return model, oracle


def mean_risk_coverage(scores: ImageScores) -> tuple[Floats, Floats]:
    """Return the mean over the seeds of the risk-coverage curve on a common grid."""
    grid = np.linspace(1 / len(scores.images), 1, min(200, len(scores.images)))
    curves = []
    for uncertainty, risk in zip(scores.uncertainty, scores.risk, strict=True):
        known = np.isfinite(uncertainty) & np.isfinite(risk)
        _, block = np.unique(uncertainty[known], return_inverse=True)
        kept = np.arange(1, len(block) + 1)
        risks = error_of_kept(np.bincount(block), np.bincount(block, risk[known]), kept) / kept
        curves.append(np.interp(grid, kept / len(block), risks))
    return grid, np.mean(curves, axis=0)


CHARTS: Final[tuple[Callable[[ReportData], Chart], ...]] = (
    differences,
    robustness,
    sparsification,
    risk_coverage,
    reliability,
    training,
)
