"""The figures of the scores: which series they show."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, Final

import numpy as np
import polars as pl

from trustseg.metrics import error_of_kept, sparsification_from_counts
from trustseg.reporting.cell_tables import calibration_of, histograms_of, load_training
from trustseg.reporting.checks import mark_label
from trustseg.reporting.image_rankings import ImageScores, read_scores
from trustseg.reporting.image_scores import Floats, per_image
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
from trustseg.reporting.series import Chart, Line, Panel, chart, curve, drop_part
from trustseg.statistics import Interval

__all__ = [
    "CHARTS",
    "head_curve",
    "head_panels",
    "mean_risk_coverage",
    "risk_panels",
    "share_y_range",
    "uncertainty_change_chart",
]

_MOST_POINTS: Final = 200
_REMOVED: Final = np.linspace(0.0, 0.99, 100)  # shares of pixels
_UNIT: Final = (-0.03, 1.03)  # so that points at 0 and 1 are seen whole
_LOGGED: Final = {
    "train_loss": "training loss",
    "validation_dice": "validation Dice, clean",
    "validation_robust_dice": "validation Dice, attacked",
}


def head_panels(
    data: ReportData,
    line_of: Callable[[str], Line | None],
    x_label: str,
    y_label: str,
    *,
    before: str = "",
    heads: Collection[str] = (),
    **limits: Any,  # noqa: ANN401 - of Panel
) -> list[Panel]:
    """Return a panel for each head, or some, with the lines of its variants that have one."""
    panels = [
        Panel(before + describe_head(head), x_label, y_label, tuple(filter(None, map(line_of, variants))), **limits)
        for head, variants in data.results.heads.items()
        if not heads or head in heads
    ]
    return [panel for panel in panels if panel.lines]


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
    return _in_head(data, curve(variant, x, intervals, data.styles[variant], **drawn), attacked=attacked)


def _in_head(data: ReportData, line: Line, *, attacked: bool = False) -> Line:
    """Return the line of a variant as it is drawn and called in a panel of its head."""
    label = drop_part(line.name, describe_head(data.results.head_of(line.name)))  # the panel's title says it
    label = mark_label(data.checks, line.name, label) if attacked else label
    return replace(line, style=replace(line.style, dash="solid"), label=label)


def share_y_range(panels: Sequence[Panel]) -> list[Panel]:
    """Return panels of scores in [0, 1] on one axis: to a little above the highest value and interval."""
    lines = [line for panel in panels for line in panel.lines]
    ends = [end for line in lines for end in (*line.y, *line.high) if np.isfinite(end)]
    limits = (0.0, min(1.02, 1.08 * max(ends, default=1.0)))
    return [replace(panel, y_range=limits) for panel in panels]


def differences(data: ReportData) -> Chart:
    """Return the paired differences in Dice as a forest plot, one panel for each condition of the headline."""
    shown = [item for item in data.differences if item.metric == "dice"]
    ends = [0.0, *(e for i in shown for e in (i.interval.value, i.interval.low, i.interval.high) if np.isfinite(e))]
    margin = 0.05 * (max(ends) - min(ends))
    limits = (min(ends) - margin, max(ends) + margin)
    panels = []
    for condition in data.conditions:
        lines, rows = [], {}
        found = [item for item in shown if item.condition == condition]
        for height, item in zip(range(len(found), 0, -1), found, strict=True):
            name = rows[float(height)] = f"{item.variant} - {data.results.cells_of(item.baseline)[0].selection}"
            style, texts = data.styles[item.variant], [item.verdict + item.mark]
            lines.append(curve(name, [height], [item.interval], style, mode="markers", texts=texts).transposed())
        labels, heights = ("difference in Dice per image", ""), (0.4, len(found) + 0.6)
        title = describe_condition(condition)
        panels.append(Panel(title, *labels, tuple(lines), limits, heights, zero=True, y_ticks=rows))
    return chart("differences", panels, len(panels), horizontal=True)


def robustness(data: ReportData) -> Chart:
    """Return Dice against the budget, one panel for each attack and head."""
    panels = []
    with_curves = [attack for attack, rungs in data.attacks.items() if len(rungs) > 1]
    for attack in with_curves or data.attacks:

        def ladder(variant: str, attack: str = attack) -> Line:
            conditions = data.evaluated_conditions(variant, data.curve(attack))
            intervals = [data.score(variant, condition, "dice") for condition in conditions]
            return head_curve(data, variant, [budget((attack, eps)) for _, eps in conditions], intervals, attacked=True)

        label = "L2 norm of the change" if is_l2(attack) else "largest change of a pixel, in grey levels of 255"
        panels += head_panels(data, ladder, label, "Dice per image", before=f"{describe_attack(attack)}, ")
    return chart("robustness_dice", share_y_range(panels), max(2, len(data.results.heads)))


def sparsification(data: ReportData) -> Chart:
    """Return the pixel sparsification curves and their gap to the oracle, clean and attacked."""
    curves, gaps, highest = [], [], 1.0
    removed = "share of least sure pixels removed"
    for condition in data.clean_and_attacked:
        title = describe_condition(condition)
        kept: list[Line] = []
        missed: list[Line] = []
        for variant, measure in data.measures.items():
            model, oracle = mean_sparsification(data, variant, condition)
            if np.isnan(model).any():
                continue
            highest = max(highest, float(model.max()))
            for lines, values in ((kept, model), (missed, model - oracle)):
                name = f"{variant} ({words(measure)})"
                lines.append(Line(name, _REMOVED.tolist(), values.tolist(), data.styles[variant]))
        curves.append((f"{title}: errors left", tuple(kept)))
        gaps.append(Panel(f"{title}: gap to the oracle", removed, "gap", tuple(missed), (0, 1)))
    left = "error rate / initial rate"
    panels = [Panel(title, removed, left, lines, (0, 1), (0, 1.05 * highest)) for title, lines in curves]
    return chart("sparsification", [*panels, *gaps], len(panels))


def risk_coverage(data: ReportData) -> Chart:
    """Return mean 1 - Dice of the kept images against the share kept, clean and attacked."""
    drawn: dict[str, list[Line]] = {}
    for condition in data.clean_and_attacked:
        lines = drawn.setdefault(describe_condition(condition), [])
        for variant, column in data.columns.items():
            scores = read_scores(data.results, variant, condition, column)
            if scores.images:
                coverage, risk = mean_risk_coverage(scores)
                name = f"{variant} ({words(column)})"
                lines.append(Line(name, coverage.tolist(), risk.tolist(), data.styles[variant]))
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
    for condition in data.clean_and_attacked:
        lines = []
        for variant, style in data.styles.items():
            frame = calibration_of(data.results.cells_of(variant), condition).drop("patient", "seed")
            sums = frame.group_by("bin").agg(pl.exclude("bin").sum()).filter(pl.col("count") > 0).sort("bin")
            x, y = (sums[name] / sums["count"] for name in ("sum_probability", "sum_reference"))
            texts = [f"{count:,} pixels" for count in sums["count"]]
            lines.append(Line(variant, x.to_list(), y.to_list(), style, mode="lines+markers", texts=texts))
        labels = f"predicted {target} probability", f"share of {target} pixels"
        panels.append(Panel(describe_condition(condition), *labels, tuple(lines), _UNIT, _UNIT, diagonal=True))
    return chart("reliability", panels, target=target)


def uncertainty_change_chart(data: ReportData, *, names: bool = True) -> Chart:
    """Return image uncertainty under the headline attack against clean, one panel for each head and measure.

    Images are named, or numbered.
    """
    images = data.results.records["image"].unique(maintain_order=True)
    texts = {image: image if names else f"image {number}" for number, image in enumerate(images, start=1)}
    drawn: dict[tuple[str, str], list[Line]] = {}
    for variant in data.attacked_variants:
        column = data.columns[variant]
        clean, attacked = (
            per_image(data.results, variant, condition).select("image", column) for condition in data.clean_and_attacked
        )
        frame = clean.join(attacked, on="image", suffix="_attacked").drop_nulls().sort(column, "image")
        frame = frame.gather_every(max(1, -(-len(frame) // _MOST_POINTS)))
        x, y = (frame[name].to_list() for name in (column, f"{column}_attacked"))
        hover = [texts[image] for image in frame["image"]]
        line = _in_head(data, Line(variant, x, y, data.styles[variant], mode="markers", texts=hover))
        drawn.setdefault((data.results.head_of(variant), column), []).append(line)
    labels = "uncertainty, clean image", "uncertainty, attacked image"
    panels = [
        Panel(f"{describe_head(head)}: {words(column)}", *labels, tuple(lines), diagonal=True)
        for (head, column), lines in drawn.items()
    ]
    return chart(
        "uncertainty_change", panels, attack=describe_condition(data.clean_and_attacked[-1]), most=_MOST_POINTS
    )


def training(data: ReportData) -> Chart:
    """Return the training log, averaged over folds and seeds, one panel for each head and quantity."""
    logs = {
        variant: [log for cell in data.results.cells_of(variant) if (log := load_training(cell)) is not None]
        for variant in data.results.variants
    }

    def line_of(variant: str, column: str) -> Line | None:
        columns = [
            log.select("epoch", pl.col(column).cast(pl.Float64)) for log in logs[variant] if column in log.columns
        ]
        if not columns or (logged := pl.concat(columns).drop_nulls()).is_empty():
            return None
        value = pl.col(column)
        means = logged.group_by("epoch").agg(value.mean(), low=value.min(), high=value.max()).sort("epoch")
        means = means.with_columns(pl.col("epoch") + 1)  # the log counts from 0, people count from 1
        epochs, values, low, high = (means[name].to_list() for name in ("epoch", column, "low", "high"))
        mode = "lines" if len(epochs) > 1 else "lines+markers"  # one validation is a point, not a line
        return _in_head(data, Line(variant, epochs, values, data.styles[variant], low, high, mode))

    panels = []
    for head, (column, title) in product(data.results.heads, _LOGGED.items()):
        of_column, label = partial(line_of, column=column), title.split(",")[0]
        panels += head_panels(data, of_column, "epoch", label, before=f"{title}, ", heads=[head])
    return chart("training", panels, len(panels) // len(data.results.heads) or 1)


def mean_sparsification(data: ReportData, variant: str, condition: ConditionKey) -> tuple[Floats, Floats]:
    """Return error left / initial error after removing each fraction: of the measure, of an oracle; seed means."""
    cells = data.results.cells_of(variant)
    frame = histograms_of(cells, condition, data.measures[variant])
    curves = []
    for seed in sorted({cell.seed for cell in cells}):
        sums = frame.filter(seed=seed).group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
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
        defined = np.isfinite(uncertainty) & np.isfinite(risk)
        _, block = np.unique(uncertainty[defined], return_inverse=True)
        kept = np.arange(1, len(block) + 1)
        risks = error_of_kept(np.bincount(block), np.bincount(block, risk[defined]), kept) / kept
        curves.append(np.interp(grid, kept / len(block), risks))
    return grid, np.mean(curves, axis=0)


CHARTS: Final[tuple[Callable[[ReportData], Chart], ...]] = (
    *(differences, robustness, sparsification, risk_coverage, reliability, training),
)
