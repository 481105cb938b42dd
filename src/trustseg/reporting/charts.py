"""The charts of a report: which series they show, and how to read them."""

from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting import image_scores
from trustseg.reporting.checks import marked
from trustseg.reporting.choices import describe_attack, describe_condition, is_l2, words
from trustseg.reporting.curves import FRACTIONS, mean_risk_coverage, mean_sparsification
from trustseg.reporting.image_scores import ConditionKey
from trustseg.reporting.report_data import Metric, ReportData
from trustseg.reporting.results import load_calibration, load_training
from trustseg.reporting.series import Chart, Line, Panel, looks, without_head
from trustseg.statistics import Interval

__all__ = ["all_charts"]

_MOST_POINTS: Final = 200
_UNIT: Final = (-0.03, 1.03)  # so that points at 0 and 1 are seen whole


def all_charts(evidence: ReportData, *, names: bool = True) -> dict[str, Chart]:
    """Return every chart that the evidence allows, by key.

    Args:
        evidence: what was measured.
        names: whether points that are images are named; else they are numbered.
    """
    charts = (
        differences(evidence),
        robustness(evidence, "dice"),
        robustness(evidence, "iou"),
        sparsification(evidence),
        risk_coverage(evidence),
        reliability(evidence),
        shift(evidence, names=names),
        training(evidence),
    )
    return {chart.key: chart for chart in charts if any(panel.lines for panel in chart.panels)}


def differences(evidence: ReportData) -> Chart:
    """Return the paired differences in Dice as a forest plot, one panel for each condition of the headline."""
    chosen = looks(evidence.results)
    ends = [end for item in evidence.differences if item.metric == "dice" for end in _ends(item.interval)]
    margin = 0.05 * (max(ends, default=0.0) - min(ends, default=0.0))
    limits = (min(ends, default=0.0) - margin, max(ends, default=0.0) + margin)
    panels = []
    for place in evidence.choices.conditions:
        found = [item for item in evidence.differences if item.metric == "dice" and item.place == place]
        regime = {name: evidence.results.cells_of(name)[0].regime for name in chosen}
        heights = {float(len(found) - row): f"{i.variant} - {regime[i.baseline]}" for row, i in enumerate(found)}
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
        label = "difference in Dice per image"
        title = describe_condition(*place)
        panels.append(Panel(title, label, "", lines, limits, (0.4, len(found) + 0.6), zero=True, y_ticks=heights))
    reading = (
        "Each row subtracts one variant from another on the same images; the bar is the 95 % interval over patients. "
        "Right of the line the first variant scores higher. A bar that crosses the line shows no difference. The bars "
        "tell nothing of what another training of the same variants would give."
    )
    return Chart("differences", "Differences in Dice", reading, tuple(panels), len(panels), horizontal=True)


def robustness(evidence: ReportData, metric: Metric) -> Chart:
    """Return a metric against the budget, one panel for each attack and head."""
    chosen = looks(evidence.results)
    heads = {variant: evidence.results.cells_of(variant)[0].head for variant in chosen}
    columns = list(dict.fromkeys(heads.values()))
    name = {"dice": "Dice", "iou": "IoU"}[metric]
    drawn = []
    for attack in evidence.choices.ladders:
        rungs = evidence.choices.attacks[attack]
        label = "L2 norm of the change" if is_l2(attack) else "largest change of a pixel, in grey levels of 255"
        places: list[ConditionKey] = [("clean", 0.0), *((attack, eps) for eps in rungs)]
        for head in columns:
            lines = []
            for variant in (variant for variant in chosen if heads[variant] == head):
                held = [place for place in places if (variant, place) in evidence.robustness]
                found = [evidence.robustness[variant, place][metric] for place in held]
                lines.append(
                    Line(
                        variant,
                        [eps if is_l2(attack) else round(eps * 255, 3) for _, eps in held],
                        [interval.value for interval in found],
                        chosen[variant].of_one_head(),
                        [interval.low for interval in found],
                        [interval.high for interval in found],
                        mode="lines+markers",
                        label=marked(evidence.checks, variant, without_head(variant, head)),
                    )
                )
            drawn.append((f"{describe_attack(attack)}, {head}", label, tuple(lines)))
    ends = [end for _, _, lines in drawn for line in lines for end in (*line.y, *line.high) if np.isfinite(end)]
    limits = (0.0, min(1.02, 1.08 * max(ends, default=1.0)))
    panels = tuple(Panel(title, label, f"{name} per image", lines, y_range=limits) for title, label, lines in drawn)
    reading = (
        f"One panel for each attack and head. Left end: {name} on unchanged images. Further right the attack may "
        "change every pixel by more. The higher a curve stays, the more robust the model; shaded is the 95 % interval "
        "over patients. PGD searches longer than FGSM, so its curve should be the lower one."
    )
    return Chart(f"robustness_{metric}", f"{name} under attack", reading, panels, max(2, len(columns)))


def sparsification(evidence: ReportData) -> Chart:
    """Return the pixel sparsification curves and their gap to the oracle, clean and attacked."""
    chosen, measures = looks(evidence.results), evidence.choices.measures
    curves, gaps, highest = [], [], 1.0
    removed = "share of least sure pixels removed"
    for place in evidence.choices.compared:
        title = describe_condition(*place)
        kept, missed = [], []
        for variant in measures:
            model, oracle = mean_sparsification(evidence, variant, place)
            if np.isnan(model).any():
                continue
            label = f"{variant} ({words(measures[variant])})"
            kept.append(Line(label, FRACTIONS.tolist(), model.tolist(), chosen[variant]))
            highest = max(highest, float(model.max()))
            missed.append(Line(label, FRACTIONS.tolist(), (model - oracle).tolist(), chosen[variant]))
        curves.append((f"{title}: errors left", tuple(kept)))
        gaps.append(
            Panel(f"{title}: gap to the oracle", "share of least sure pixels removed", "gap", tuple(missed), (0, 1))
        )
    reading = (
        "Pixels are removed from the least sure to the surest. A good uncertainty points at the wrong pixels, so the "
        "error rate of what is left (top) falls at once. An oracle that knows the errors is subtracted below: the area "
        "under that gap is AUSE, 0 is perfect. Gaps of models with different error rates cannot be compared; nAUSE can."
    )
    left = "error rate / initial rate"
    drawn = [Panel(title, removed, left, lines, (0, 1), (0, 1.05 * highest)) for title, lines in curves]
    return Chart("sparsification", "Are the wrong pixels the unsure ones?", reading, (*drawn, *gaps), len(drawn))


def risk_coverage(evidence: ReportData) -> Chart:
    """Return mean 1 - Dice of the kept images against the share kept, clean and attacked."""
    chosen, columns = looks(evidence.results), evidence.choices.columns
    panels = []
    for place in evidence.choices.compared:
        lines: list[Line] = []
        for variant, column in columns.items():
            held = image_scores.read_scores(evidence.results, variant, place, column)
            if held.images:
                coverage, risk = mean_risk_coverage(held)
                label = f"{variant} ({words(column.removeprefix('u_'))})"
                lines.append(Line(label, coverage.tolist(), risk.tolist(), chosen[variant]))
        panels.append((describe_condition(*place), tuple(lines)))
    highest = max((value for _, lines in panels for line in lines for value in line.y), default=1.0)
    reading = (
        "Images are kept from the surest to the least sure. If uncertainty knows which images went wrong, the risk is "
        "low at the left and rises to the overall risk at the right; a flat curve is no better than chance. The area "
        "under a curve is AURC."
    )
    drawn = tuple(
        Panel(title, "share of images kept", "mean 1 - Dice of the kept", lines, (0, 1), (0, 1.08 * highest))
        for title, lines in panels
    )
    return Chart("risk_coverage", "Would sending unsure images to a human help?", reading, drawn)


def reliability(evidence: ReportData) -> Chart:
    """Return the share of reference pixels against the mean probability per bin, clean and attacked."""
    chosen = looks(evidence.results)
    panels = []
    for place in evidence.choices.compared:
        lines = []
        for variant, look in chosen.items():
            cells = evidence.results.cells_of(variant)
            frame = pl.concat([load_calibration(cell, condition=place[0], eps=place[1]) for cell in cells])
            sums = frame.group_by("bin").agg(pl.exclude("patient", "bin").sum()).filter(pl.col("count") > 0).sort("bin")
            x, y = (sums[name] / sums["count"] for name in ("sum_probability", "sum_reference"))
            texts = [f"{count:,} pixels" for count in sums["count"]]
            lines.append(Line(variant, x.to_list(), y.to_list(), look, mode="lines+markers", texts=texts))
        title = describe_condition(*place)
        panel = Panel(
            title, "predicted foreground probability", "share of foreground pixels", tuple(lines), _UNIT, _UNIT, True
        )
        panels.append(panel)
    reading = (
        "On the diagonal a pixel that is given 70 % is foreground in 70 % of the cases. Below it the model claims too "
        "much, above it too little. ECE weighs the distance by the number of pixels, and most pixels are easy "
        "background: a small ECE can hide a curve far off the diagonal."
    )
    return Chart("reliability", "Can the probabilities be taken at their word?", reading, tuple(panels))


def shift(evidence: ReportData, *, names: bool = True) -> Chart:
    """Return image uncertainty under the headline attack against clean, one panel for each head and measure."""
    images = evidence.results.records["image"].unique(maintain_order=True)
    said = {image: image if names else f"image {number}" for number, image in enumerate(images, start=1)}
    chosen, columns = looks(evidence.results), evidence.choices.columns
    panels = []
    heads = {variant: evidence.results.cells_of(variant)[0].head for variant in evidence.shifts}
    for head, column in dict.fromkeys((heads[variant], columns[variant]) for variant in evidence.shifts):
        lines = []
        for variant in evidence.shifts:
            if (heads[variant], columns[variant]) != (head, column):
                continue
            clean, attacked = (
                image_scores.per_image(evidence.results, variant, place).select("image", column)
                for place in evidence.choices.compared
            )
            frame = clean.join(attacked, on="image", suffix="_attacked").drop_nulls().sort(column, "image")
            frame = frame.gather_every(max(1, -(-len(frame) // _MOST_POINTS)))
            x, y = (frame[name].to_list() for name in (column, f"{column}_attacked"))
            texts, legend = [said[image] for image in frame["image"]], without_head(variant, head)
            lines.append(Line(variant, x, y, chosen[variant], mode="markers", texts=texts, label=legend))
        label = f"{head}: {words(column.removeprefix('u_'))}"
        panels.append(
            Panel(label, "uncertainty, clean image", "uncertainty, attacked image", tuple(lines), diagonal=True)
        )
    reading = (
        "Each point is one test image. On the line the attack left its uncertainty as it was. Points below the line "
        "are the dangerous ones: the attacked image looks surer than the clean one. At most "
        f"{_MOST_POINTS} images of a variant are drawn, evenly spread; the table uses all."
    )
    attack = describe_condition(*evidence.choices.compared[-1])
    return Chart("shift", f"What {attack} does to the uncertainty", reading, tuple(panels))


def training(evidence: ReportData) -> Chart:
    """Return the training log, averaged over folds and seeds, one panel for each quantity."""
    titles = {
        "train_loss": "training loss",
        "validation_dice": "validation Dice, clean",
        "validation_robust_dice": "validation Dice, attacked",
    }
    chosen = looks(evidence.results)
    logs = {
        variant: [log for cell in evidence.results.cells_of(variant) if (log := load_training(cell)) is not None]
        for variant in chosen
    }
    panels = []
    for column, title in titles.items():
        lines = []
        for variant, tables in logs.items():
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
            lines.append(Line(variant, epochs, values, chosen[variant], low, high, mode))
        if lines:
            panels.append(Panel(title, "epoch", title.split(",")[0], tuple(lines)))
    reading = (
        "Averages over folds and seeds; shaded is the range between single runs. A curve that still rises at its end "
        "was stopped early; a training loss that falls while the validation Dice does not is overfitting."
    )
    return Chart("training", "How training went", reading, tuple(panels), 3)


def _ends(interval: Interval) -> list[float]:
    """Return what an axis has to hold of an interval, 0 included."""
    return [0.0, *(end for end in (interval.value, interval.low, interval.high) if np.isfinite(end))]
