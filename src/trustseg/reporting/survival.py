"""How many images a budget leaves unbroken: survival curves from the brackets of their smallest harmful budgets."""

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from trustseg.records import MINIMAL, read_table
from trustseg.reporting import checks
from trustseg.reporting.image_scores import Floats
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Line, Panel, looks, without_head
from trustseg.reporting.side_by_side import Sheet, weighted_means
from trustseg.reporting.tables import Column, Table, Value
from trustseg.statistics import Interval, bootstrap_statistic

__all__ = ["read_brackets", "survival_chart", "survival_table", "survivals"]

Brackets = dict[str, pl.DataFrame]
_POINTS: Final = 81  # of a curve
_LEVELS: Final = 255  # grey levels of a budget of 1


def read_brackets(results: Results) -> Brackets:
    """Return the smallest budgets of every variant that was searched for them: a row an image and model.

    Raises:
        DataError: if a table cannot be read.
    """
    found: dict[str, list[pl.DataFrame]] = {}
    for cell in results.cells:
        path = cell.folder / "minimal.parquet"
        if not path.is_file():
            continue
        found.setdefault(cell.variant, []).append(read_table(path, MINIMAL).select(*MINIMAL.columns))
    return {variant: pl.concat(tables) for variant, tables in found.items()}


def survival_table(evidence: ReportData, brackets: Brackets, *, draws: int) -> Table:
    """Return for each variant how many images were broken from the start, which never were, and the median budget."""
    rows: list[dict[str, Value]] = []
    for variant, frame in brackets.items():
        top = _top({variant: frame})
        start, end = _share(frame, "already_broken", draws), _share(frame, "censored", draws)
        row: dict[str, Value] = {
            "variant": variant,
            "tau": " and ".join(f"{tau:g}" for tau in sorted(frame["tau"].unique())),
            "images": frame["image"].n_unique(),
            "empty": frame.filter(pl.col("mask_px") == 0)["image"].n_unique(),
            "already_broken": start,
            "median": _median(frame, top, draws),
            "censored": end,
            "largest": _LEVELS * top,
        }
        rows.append(row | {"trust": checks.trust(evidence.checks, variant)})
    columns = (
        Column("variant", "Variant"),
        Column("tau", "Broken from a Dice of"),
        Column("images", "Images"),
        Column("empty", "of them without foreground"),
        Column("already_broken", "Broken without an attack"),
        Column("median", "Median smallest budget, grey levels", digits=2),
        Column("censored", "Not broken by this suite"),
        Column("largest", "Largest budget, grey levels", digits=2),
        *([Column("trust", "Checks")] if evidence.checks else []),
    )
    title = (
        "The smallest budget known to break each image, by bisection. A median, or an end of its interval, that equals "
        "the largest budget says that half of the images were not broken by it"
    )
    return Table("survival", title, columns, tuple(rows))


def survival_chart(evidence: ReportData, brackets: Brackets, *, draws: int) -> Chart:
    """Return the share of images not broken against the budget, one panel per head."""
    chosen, top = looks(evidence.results), _top(brackets)
    heads = {variant: evidence.results.cells_of(variant)[0].head for variant in brackets}
    budgets = np.linspace(0, top, _POINTS)
    drawn: dict[str, list[Line]] = {head: [] for head in heads.values()}
    for variant, frame in brackets.items():
        own = budgets[budgets <= _top({variant: frame}) + 1e-9]
        upper, lower = (weighted_means(sheet, np.eye(len(own)), draws=draws) for sheet in survivals(frame, own))
        line = Line(
            variant,
            (_LEVELS * own).tolist(),
            [share.value for share in upper],
            chosen[variant].of_one_head(),
            [_end(share.low, share.value) for share in lower],
            [_end(share.high, share.value) for share in upper],
            label=checks.marked(evidence.checks, variant, without_head(variant, heads[variant])),
        )
        drawn[heads[variant]].append(line)
    label = "share of images not broken"
    panels = tuple(
        Panel(head, "budget, grey levels", label, tuple(lines), (0.0, _LEVELS * top), (0.0, 1.02))
        for head, lines in drawn.items()
    )
    taus = " or ".join(f"{tau:g}" for tau in sorted({tau for frame in brackets.values() for tau in frame["tau"]}))
    reading = (
        f"Share of the images whose Dice the attacks did not bring to {taus} or below within a budget; an image "
        "without foreground is broken when 1 % of it is predicted. The left end shows what no attack has broken, "
        "the right end what this suite never broke, which is not to say that nothing can. The band holds the 95 % "
        "interval over patients and, at its lower end, the width of the bisection."
    )
    return Chart("survival", "Images that a budget leaves unbroken", reading, panels)


def survivals(frame: pl.DataFrame, eps: Floats) -> tuple[Sheet, Sheet]:
    """Return whether each image is not known to break at some budgets (K,), and whether it is known to hold.

    Values are averaged over the models of a variant; see ``trustseg.metrics.survival_curve``.
    """
    images = frame.group_by("image").agg(pl.col("patient").first()).sort("image")
    names, patients = images["image"].to_list(), images["patient"].to_numpy().astype(np.str_)
    sheets = []
    for holds in (
        [pl.col("eps_breaks") > at for at in eps],
        [(pl.col("eps_holds") >= at) & ~pl.col("already_broken") for at in eps],
    ):
        means = frame.group_by("image").agg(held.mean().alias(str(k)) for k, held in enumerate(holds)).sort("image")
        sheets.append(Sheet(names, patients, means.drop("image").to_numpy().astype(np.float64)))
    return sheets[0], sheets[1]


def _top(brackets: Brackets) -> float:
    """Return the largest budget that was tried and decided something."""
    ends = pl.concat([frame.select("eps_holds", "eps_breaks") for frame in brackets.values()])
    finite = ends.filter(pl.col("eps_breaks").is_finite())["eps_breaks"].max()
    return max(float(str(value)) for value in (ends["eps_holds"].max(), finite, 0.0) if value is not None)


def _share(frame: pl.DataFrame, column: str, draws: int) -> Interval:
    images = frame.group_by("image").agg(pl.col("patient").first(), pl.col(column).mean()).sort("image")
    values = images.select(pl.col(column).cast(pl.Float64)).to_numpy()
    sheet = Sheet(images["image"].to_list(), images["patient"].to_numpy().astype(np.str_), values)
    return weighted_means(sheet, np.eye(1), draws=draws)[0]


def _median(frame: pl.DataFrame, top: float, draws: int) -> Interval:
    """Return the median of the smallest budgets known to break, in grey levels; one that is censored counts as top."""
    levels = _LEVELS * frame["eps_breaks"].to_numpy().clip(max=top)
    found = bootstrap_statistic(
        lambda rows: float(np.median(levels[rows])), frame["patient"].to_numpy().astype(np.str_), draws=draws
    )
    low, high = np.clip((found.low, found.high), levels.min(), levels.max())  # no budget beyond was tried
    return replace(found, low=float(low), high=float(high))


def _end(end: float, value: float) -> float:
    """Return the end of an interval, the value itself where there is none."""
    return value if np.isnan(end) else end
