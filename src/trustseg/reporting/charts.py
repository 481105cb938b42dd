"""The figures of the scores: which series they show."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

import numpy as np
import polars as pl

from trustseg.metrics import error_of_kept, sparsification_from_counts
from trustseg.reporting import image_scores
from trustseg.reporting.cell_tables import load_calibration, load_histogram, load_training
from trustseg.reporting.checks import marked
from trustseg.reporting.image_scores import Floats, ImageScores
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
from trustseg.reporting.series import Chart, Line, Look, Panel, chart, curve, looks, without_head

__all__ = ["mean_risk_coverage", "mean_sparsification", "risk_panels", "score_charts"]

_MOST_POINTS: Final = 200
_REMOVED: Final = np.linspace(0.0, 0.99, 100)  # shares of pixels
_UNIT: Final = (-0.03, 1.03)  # so that points at 0 and 1 are seen whole
_LOGGED: Final = {
    "train_loss": "training loss",
    "validation_dice": "validation Dice, clean",
    "validation_robust_dice": "validation Dice, attacked",
}


def score_charts(data: ReportData, *, names: bool = True) -> list[Chart]:
    """Return the figures of the scores; points that are images are named, or numbered."""
    return [
        differences(data),
        robustness(data),
        sparsification(data),
        risk_coverage(data),
        reliability(data),
        shift(data, names=names),
        training(data),
    ]


def differences(data: ReportData) -> Chart:
    """Return the paired differences in Dice as a forest plot, one panel for each condition of the headline."""
    chosen = looks(data.results)
    shown = [item for item in data.differences if item.metric == "dice"]
    ends = [0.0, *(e for i in shown for e in (i.interval.value, i.interval.low, i.interval.high) if np.isfinite(e))]
    margin = 0.05 * (max(ends) - min(ends))
    selection = {name: data.results.cells_of(name)[0].selection for name in chosen}
    panels = []
    for condition in data.choices.conditions:
        found = [item for item in shown if item.condition == condition]
        heights = {float(len(found) - row): f"{i.variant} - {selection[i.baseline]}" for row, i in enumerate(found)}
        lines = tuple(
            Line(
                name,
                [item.interval.value],
                [height],
                chosen[item.variant],
                [item.interval.low],
                [item.interval.high],
                mode="markers",
                texts=[item.verdict + item.mark],
            )
            for item, (height, name) in zip(found, heights.items(), strict=True)
        )
        limits, rows = (min(ends) - margin, max(ends) + margin), (0.4, len(found) + 0.6)
        label = "difference in Dice per image"
        panels.append(Panel(describe_condition(condition), label, "", lines, limits, rows, zero=True, y_ticks=heights))
    return chart("differences", panels, len(panels), horizontal=True)


def robustness(data: ReportData) -> Chart:
    """Return Dice against the budget, one panel for each attack and head."""
    chosen = looks(data.results)
    heads = {variant: data.results.head_of(variant) for variant in chosen}
    drawn = []
    for attack in data.choices.attacks_with_curves:
        for head in dict.fromkeys(heads.values()):
            lines = []
            for variant in (variant for variant in chosen if heads[variant] == head):
                held = data.evaluated(variant, data.choices.curve(attack))
                intervals = [data.robustness[variant, condition]["dice"] for condition in held]
                x = [budget((attack, eps)) for _, eps in held]
                label = marked(data.checks, variant, without_head(variant, head))
                lines.append(curve(variant, x, intervals, chosen[variant].of_one_head(), label=label))
            drawn.append((attack, head, tuple(lines)))
    ends = [end for *_, lines in drawn for line in lines for end in (*line.y, *line.high) if np.isfinite(end)]
    panels = [
        Panel(
            f"{describe_attack(attack)}, {describe_head(head)}",
            "L2 norm of the change" if is_l2(attack) else "largest change of a pixel, in grey levels of 255",
            "Dice per image",
            lines,
            y_range=(0.0, min(1.02, 1.08 * max(ends, default=1.0))),
        )
        for attack, head, lines in drawn
    ]
    return chart("robustness_dice", panels, max(2, len(set(heads.values()))))


def sparsification(data: ReportData) -> Chart:
    """Return the pixel sparsification curves and their gap to the oracle, clean and attacked."""
    chosen, measures = looks(data.results), data.choices.measures
    curves, gaps, highest = [], [], 1.0
    removed = "share of least sure pixels removed"
    for condition in data.choices.compared:
        title = describe_condition(condition)
        kept: list[Line] = []
        missed: list[Line] = []
        for variant in measures:
            model, oracle = mean_sparsification(data, variant, condition)
            if np.isnan(model).any():
                continue
            label = f"{variant} ({words(measures[variant])})"
            highest = max(highest, float(model.max()))
            for lines, values in ((kept, model), (missed, model - oracle)):
                lines.append(Line(label, _REMOVED.tolist(), values.tolist(), chosen[variant]))
        curves.append((f"{title}: errors left", tuple(kept)))
        gaps.append(Panel(f"{title}: gap to the oracle", removed, "gap", tuple(missed), (0, 1)))
    left = "error rate / initial rate"
    panels = [Panel(title, removed, left, lines, (0, 1), (0, 1.05 * highest)) for title, lines in curves]
    return chart("sparsification", [*panels, *gaps], len(panels))


def risk_coverage(data: ReportData) -> Chart:
    """Return mean 1 - Dice of the kept images against the share kept, clean and attacked."""
    chosen = looks(data.results)
    drawn: dict[str, list[Line]] = {}
    for condition in data.choices.compared:
        lines = drawn.setdefault(describe_condition(condition), [])
        for variant, column in data.choices.columns.items():
            scores = image_scores.read_scores(data.results, variant, condition, column)
            if scores.images:
                coverage, risk = mean_risk_coverage(scores)
                lines.append(Line(f"{variant} ({words(column)})", coverage.tolist(), risk.tolist(), chosen[variant]))
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
        for variant, look in looks(data.results).items():
            frame = pl.concat([load_calibration(cell, condition) for cell in data.results.cells_of(variant)])
            sums = frame.group_by("bin").agg(pl.exclude("patient", "bin").sum()).filter(pl.col("count") > 0).sort("bin")
            x, y = (sums[name] / sums["count"] for name in ("sum_probability", "sum_reference"))
            texts = [f"{count:,} pixels" for count in sums["count"]]
            lines.append(Line(variant, x.to_list(), y.to_list(), look, mode="lines+markers", texts=texts))
        labels = f"predicted {target} probability", f"share of {target} pixels"
        panels.append(Panel(describe_condition(condition), *labels, tuple(lines), _UNIT, _UNIT, diagonal=True))
    return chart("reliability", panels, target=target)


def shift(data: ReportData, *, names: bool = True) -> Chart:
    """Return image uncertainty under the headline attack against clean, one panel for each head and measure."""
    images = data.results.records["image"].unique(maintain_order=True)
    texts = {image: image if names else f"image {number}" for number, image in enumerate(images, start=1)}
    drawn: dict[tuple[str, str], list[Line]] = {}
    for variant in data.shifts:
        head, column = data.results.head_of(variant), data.choices.columns[variant]
        look = looks(data.results)[variant]
        drawn.setdefault((head, column), []).append(_points(data, variant, look, texts, without_head(variant, head)))
    labels = "uncertainty, clean image", "uncertainty, attacked image"
    panels = [
        Panel(f"{describe_head(head)}: {words(column)}", *labels, tuple(lines), diagonal=True)
        for (head, column), lines in drawn.items()
    ]
    attack = describe_condition(data.choices.compared[-1])
    return chart("shift", panels, attack=attack, most=_MOST_POINTS)


def _points(data: ReportData, variant: str, look: Look, texts: Mapping[str, str], label: str) -> Line:
    column = data.choices.columns[variant]
    clean, attacked = (
        image_scores.per_image(data.results, variant, condition).select("image", column)
        for condition in data.choices.compared
    )
    frame = clean.join(attacked, on="image", suffix="_attacked").drop_nulls().sort(column, "image")
    frame = frame.gather_every(max(1, -(-len(frame) // _MOST_POINTS)))
    x, y = (frame[name].to_list() for name in (column, f"{column}_attacked"))
    return Line(variant, x, y, look, mode="markers", texts=[texts[image] for image in frame["image"]], label=label)


def training(data: ReportData) -> Chart:
    """Return the training log, averaged over folds and seeds, one panel for each head and quantity."""
    chosen = looks(data.results)
    logs = {
        variant: [log for cell in data.results.cells_of(variant) if (log := load_training(cell)) is not None]
        for variant in chosen
    }
    panels = []
    heads = {variant: data.results.head_of(variant) for variant in chosen}
    for head, (column, title) in product(dict.fromkeys(heads.values()), _LOGGED.items()):
        lines = []
        for variant, tables in ((name, found) for name, found in logs.items() if heads[name] == head):
            held = [
                t.select("epoch", pl.col(column).cast(pl.Float64)).drop_nulls() for t in tables if column in t.columns
            ]
            if not held or not sum(map(len, held)):
                continue
            value = pl.col(column)
            means = pl.concat(held).group_by("epoch").agg(value.mean(), low=value.min(), high=value.max()).sort("epoch")
            means = means.with_columns(pl.col("epoch") + 1)  # the log counts from 0, people count from 1
            epochs, values, low, high = (means[name].to_list() for name in ("epoch", column, "low", "high"))
            mode = "lines" if len(epochs) > 1 else "lines+markers"  # one validation is a point, not a line
            look, label = chosen[variant].of_one_head(), without_head(variant, head)
            lines.append(Line(variant, epochs, values, look, low, high, mode, label=label))
        if lines:
            panels.append(Panel(f"{title}, {describe_head(head)}", "epoch", title.split(",")[0], tuple(lines)))
    return chart("training", panels, len(panels) // len(set(heads.values())) or 1)


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
