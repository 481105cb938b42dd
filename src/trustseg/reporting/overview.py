"""The first screen: the answer in words, its table, its small form for a README, and what the numbers rest on."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from trustseg import metrics
from trustseg.reporting.differences import Difference
from trustseg.reporting.labels import CLEAN, describe_condition, describe_metric, words
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.tables import Table, Value, interval_text

__all__ = [
    "basis",
    "compact_table",
    "comparisons",
    "first_screen",
    "headlines",
    "interval_scope",
    "print_summary",
    "summary",
]

_OF_EVIDENCE: Final = ("mutual_information", "vacuity", "epistemic_variance")
_ATTACKED: Final = ("robust_dice", "worst_dice")
_DOES: Final = {"image": "segments", "pixel_ranking": "ranks errors"}  # what is said of a metric of a kind
_VERDICTS: Final = {
    "better": "{variant} {does}: {found}",
    "worse": "{variant} {does}: {found}",
    "includes 0": "no difference shown in {found}",
    "within the margin": "no difference that matters in {found}, below the margin of {margin:g}",
    "margin not reached": "{variant} {does}, if perhaps by less than the margin of {margin:g}: {found}",
    "one training": "no verdict from one training of each; these trained models differ in {found}",
    "identical": "no verdict, as both sides are the same in every image: {found}",
    "undefined": "nothing can be said of {found}",
}


def summary(data: ReportData) -> Table:
    """Return one row per variant: overlap clean and attacked; ranking of errors and calibration clean.

    All variants are ranked by one measure; those whose records hold a measure of evidence get the compared scores of
    pixels by it, too.
    """
    attacked = dict(zip(_ATTACKED, data.conditions[1:], strict=False))
    evidence_measures = {v: [name for name in _OF_EVIDENCE if name in found] for v, found in data.all_columns.items()}
    informed = {variant: names[0] for variant, names in evidence_measures.items() if names}
    pixels = metrics.metrics_of("pixel_ranking", least="compared")
    by_evidence = {f"{metric}_{name}": (metric, name) for metric in pixels for name in dict.fromkeys(informed.values())}
    rows: list[dict[str, Value]] = []
    for variant in data.results.variants:
        row: dict[str, Value] = {"variant": variant, "images": data.score(variant, CLEAN, "dice").count}
        row |= {metric: data.score(variant, CLEAN, metric) for metric in _overlaps(data)}
        row |= {key: data.score(variant, condition, "dice") for key, condition in attacked.items()}
        row["trust"] = data.trust(variant)
        for metric in metrics.metrics_of("pixel_ranking", "image_ranking", "calibration", least="summary"):
            row[metric] = data.score(variant, CLEAN, metric)
            row |= {
                key: data.score(variant, CLEAN, metric, name) if informed.get(variant) == name else None
                for key, (of, name) in by_evidence.items()
                if of == metric
            }
        rows.append(row)
    titles = {key: f"{describe_metric(metric)} ({words(name)})" for key, (metric, name) in by_evidence.items()}
    named = {key: describe_condition(condition) for key, condition in attacked.items()}
    table = data.table("summary", rows, titles, basis=basis(data), **named)
    return replace(table, constants={f"{key}_under": name for key, name in named.items()})


def _overlaps(data: ReportData) -> list[str]:
    """Return the overlaps of the summary, each also at the size of the files where that was measured."""
    records, found = data.results.records, []
    for metric in metrics.metrics_of("image", "pooled", least="summary"):
        native = f"{metric}_native"
        has_native = native in records.columns and records[native].null_count() < len(records)
        found += [metric, *([native] if has_native else [])]
    return found


def first_screen(data: ReportData) -> tuple[Table, Table]:
    """Return the summary as two tables that fit a page: the masks, and how good the uncertainty is."""
    table, masks = summary(data), ["variant", *_overlaps(data), *_ATTACKED, "trust"]
    uncertainty = [column.key for column in table.columns if column.key not in (*masks[1:], "images")]
    return (
        table.only(masks, title=f"Segmentation. Means. {basis(data)}"),
        table.only(uncertainty, title="Uncertainty, on unchanged images. Means, with the same intervals."),
    )


def compact_table(data: ReportData) -> Table:
    """Return the summary in few columns, for a README: overlap, and the compared scores of pixels."""
    found, pixels = summary(data), metrics.metrics_of("pixel_ranking", least="compared")
    measures = " or ".join(sorted({words(measure) for measure in data.measures.values()}))
    titles = {name: f"{entry.label} ({measures})" if measures else entry.label for name, entry in pixels.items()}
    overlaps = (*metrics.metrics_of("image", least="compared"), *metrics.metrics_of("pooled", least="summary"))
    calibration = metrics.metrics_of("calibration", least="compared")
    under = {key.removesuffix("_under"): name for key, name in found.constants.items()}
    table = data.table("compact", found.rows, titles, **under)
    table = table.only(["variant", *overlaps, *_ATTACKED, "trust", *pixels, *calibration], title=basis(data))
    return replace(table, key=found.key, constants=found.constants)


def basis(data: ReportData) -> str:
    """Return in words what the numbers rest on and what the brackets hold, for a caption."""
    results = data.results
    positive = results.records.filter(pl.col("mask_px") > 0)["image"].n_unique()
    images, patients = (results.records[name].n_unique() for name in ("image", "patient"))
    cells = [results.cells_of(variant) for variant in results.variants]
    folds = span_text(len({cell.fold for cell in found}) for found in cells)
    seeds = span_text(len({cell.seed for cell in found}) for found in cells)
    models = span_text(len(results.trainings_of(variant)) for variant in results.variants)
    scope = ", for these trained models" if any(item.tentative for item in data.differences) else ""
    sizes = results.records["size"].drop_nulls().unique().sort().to_list() if "size" in results.records.columns else []
    measured = f" Measured at {' and '.join(f'{size} x {size}' for size in sizes)} px." if sizes else ""
    return (
        f"{images} images of {patients} patients; per-image scores over the {positive} images with {results.target}. "
        f"Folds: {folds}, seeds: {seeds}, trained models behind each variant: {models}. In brackets: 95 % bootstrap "
        f"interval over patients{scope}; it does not cover how much trainings differ.{measured}"
    )


def span_text(counts: Iterable[int]) -> str:
    """Return the range of some counts.

    Example:
        >>> span_text([4, 4]), span_text([4, 3])
        ('4', '3 to 4')
    """
    found = sorted(set(counts))
    return " to ".join(str(count) for count in dict.fromkeys((found[0], found[-1])))


def comparisons(data: ReportData) -> list[tuple[str, str, list[Difference]]]:
    """Return each compared pair, variant and baseline, with its differences in overlap and, attacked, in ranking."""
    attacked = data.clean_and_attacked[-1]
    found: dict[tuple[str, str], list[Difference]] = {}
    for item in data.differences:
        if item.kind == "image" or (item.kind in _DOES and item.condition == attacked):
            found.setdefault((item.variant, item.baseline), []).append(item)
    order = list(metrics.METRICS)
    return [(*pair, sorted(items, key=lambda item: order.index(item.metric))) for pair, items in found.items()]


def headlines(data: ReportData) -> list[tuple[str, list[str]]]:
    """Return the answer in words: every pair with the first baseline of the study that any variant was compared with.

    The sentences of a pair give the cost on clean images, the gain under the attack, the ranking of errors under it,
    and what each interval allows to say.
    """
    pairs = comparisons(data)
    first = min((items[0].rank for _, _, items in pairs), default=0)
    return [
        (
            f"{variant} minus {baseline}",
            [_in_words(item) for item in items if item.condition in data.clean_and_attacked],
        )
        for variant, baseline, items in pairs
        if items[0].rank == first
    ]


def _in_words(item: Difference) -> str:
    does = f"{_DOES[item.kind]} {'better' if item.is_ahead else 'worse'}"
    found = f"{item.score}: {interval_text(item.interval, signed=True)}"
    found += "" if item.higher_is_better else " (lower is better)"
    said = _VERDICTS[item.verdict].format(variant=item.variant, does=does, found=found, margin=item.margin)
    return f"{said[0].upper()}{said[1:]}{item.mark}"


def interval_scope(data: ReportData) -> str:
    """Return in words what the intervals of a report cover, which the first screen says."""
    counts = span_text([item.trainings for item in data.differences] or [1])
    if counts == "1":
        return "Intervals cover the choice of patients, not that of the training: another training may differ by more."
    return (
        "Intervals of means cover the choice of patients alone; those of differences between variants cover the "
        f"choice of the training, too ({counts} seeds on both sides)."
    )


def print_summary(table: pl.DataFrame, *, console: Console | None = None) -> None:
    """Print the frame of a ``summary``, small enough for a terminal of 80 columns."""
    attack = str(table["robust_dice_under"][0]) if "robust_dice_under" in table.columns else ""
    rankings = metrics.metrics_of("pixel_ranking", least="compared")
    titles = {"variant": "variant", "dice": "Dice clean", "robust_dice": f"Dice {attack}"}
    titles |= {name: entry.label for name, entry in rankings.items()}
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    keys = [key for key in titles if key in table.columns]
    for key in keys:
        is_name = key == "variant"
        shown.add_column(Text(titles[key]), justify="left" if is_name else "right", no_wrap=not is_name)
    for row in table.iter_rows(named=True):
        texts = (
            "{:.2f} [{:.2f}, {:.2f}]".format(*(row[key + end] for end in ("", "_low", "_high"))) for key in keys[1:]
        )
        shown.add_row(*map(Text, (row["variant"], *texts)))
    (console or Console()).print(shown)
