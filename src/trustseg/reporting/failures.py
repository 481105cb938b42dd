"""Which image score finds the bad segmentations: every measure with every aggregation, clean images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.reporting.choices import words
from trustseg.reporting.image_scores import Floats, ImageScores, read_scores
from trustseg.reporting.populations import score_columns
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.tables import Column, Table, Value
from trustseg.statistics import Interval, bootstrap_rows, spearman
from trustseg.statistics.bootstrap import draw_owners
from trustseg.study import detection, rankings

__all__ = ["finder_table", "read_finders", "same_orders"]

_CLEAN: Final = ("clean", 0.0)
_TAU: Final = 0.5  # the Dice below which a segmentation has failed, where no policy says otherwise


@dataclass(frozen=True, slots=True)
class Finder:
    """How well one image score of one variant finds its bad segmentations.

    Attributes:
        variant: which models.
        column: the score.
        aurc: area under the risk-coverage curve of 1 - Dice.
        naurc: the same, 0 for an oracle and 1 for a random order.
        auroc: chance that a failed image (Dice below tau) looks less sure than another; NaN without failures.
        size: Spearman's correlation with the predicted area, the mean over seeds; NaN where undefined.
    """

    variant: str
    column: str
    aurc: Interval
    naurc: Interval
    auroc: Interval
    size: float


def read_finders(evidence: ReportData, *, tau: float = _TAU, draws: int = 2000) -> list[Finder]:
    """Return every image score of every variant, the best AURC of a variant first.

    Args:
        evidence: the numbers of the study.
        tau: a segmentation with a Dice below it has failed.
        draws: bootstrap draws over patients, >= 1.
    """
    results = evidence.results
    found: list[Finder] = []
    for variant in results.variants:
        mine = []
        for column in score_columns(results, variant):
            held = read_scores(results, variant, _CLEAN, column)
            if not held.images:
                continue
            aurc, naurc, auroc = (_interval(held, score, draws) for score in (_aurc, _naurc, _auroc_below(tau)))
            mine.append(Finder(variant, column, aurc, naurc, auroc, _size_correlation(evidence, variant, column)))
        found += sorted(mine, key=lambda finder: (np.nan_to_num(finder.aurc.value, nan=np.inf), finder.column))
    return found


def finder_table(finders: Sequence[Finder], *, tau: float = _TAU) -> Table:
    """Return one row for each score of each variant, in rising order of AURC."""
    columns = (
        Column("variant", "Variant"),
        Column("place", "ConditionKey"),
        Column("score", "Measure and aggregation"),
        Column("aurc", "AURC ↓"),
        Column("naurc", "nAURC ↓"),
        Column("auroc", f"AUROC of Dice below {tau:g}"),
        Column("size", "Spearman with predicted area", digits=2, signed=True),
    )
    rows: list[dict[str, Value]] = []
    places: dict[str, int] = {}
    for finder in finders:
        places[finder.variant] = places.get(finder.variant, 0) + 1
        rows.append(
            {
                "variant": finder.variant,
                "place": places[finder.variant],
                "score": words(finder.column.removeprefix("u_")),
                "aurc": finder.aurc,
                "naurc": finder.naurc,
                "auroc": finder.auroc,
                "size": finder.size,
            }
        )
    title = "How well each score of an image finds bad segmentations, clean images with foreground"
    return Table("aggregations", title, columns, tuple(rows))


def same_orders(evidence: ReportData) -> list[str]:
    """Return a sentence for each group of image scores that put the clean images of some variants in one order."""
    results = evidence.results
    found: dict[tuple[str, ...], list[str]] = {}
    for variant in results.variants:
        groups: dict[bytes, list[str]] = {}
        for column in score_columns(results, variant):
            held = read_scores(results, variant, _CLEAN, column)
            if len(held.images) > 2:
                groups.setdefault(_ranks(held), []).append(words(column.removeprefix("u_")))
        for group in groups.values():
            if len(group) > 1:
                found.setdefault(tuple(group), []).append(variant)
    return [
        f"{'every variant' if len(who) == len(results.variants) else ', '.join(who)}: {', '.join(group[:-1])} and "
        f"{group[-1]} put the images in the same order."
        for group, who in found.items()
    ]


def _ranks(held: ImageScores) -> bytes:
    """Return the dense ranks of the images for each seed, comparable as bytes."""
    return b"".join(np.unique(row, return_inverse=True)[1].astype(np.int64).tobytes() for row in held.uncertainty)


ErrorScore = Callable[[Floats, Floats, Floats, Floats], Floats]


def _interval(held: ImageScores, score: ErrorScore, draws: int) -> Interval:
    """Return a score of (count, error, patient-weighted) blocks, the mean over the seeds, with its interval."""
    names, owner, _ = draw_owners(held.patients, 1, 0)
    layers = [_layer(u, r, owner, len(names)) for u, r in zip(held.uncertainty, held.risk, strict=True)]
    widths = np.cumsum([0, *(table.shape[1] for table, _ in layers)])

    def statistic(drawn: Floats) -> Floats:
        parts = [drawn[:, widths[i] : widths[i + 1]] for i in range(len(layers))]
        values = [score(part, *orders) for part, (_, orders) in zip(parts, layers, strict=True)]
        return np.asarray(np.mean(values, axis=0), np.float64)

    return bootstrap_rows(np.hstack([table for table, _ in layers]), names, statistic, draws=draws)


def _layer(
    uncertainty: Floats, risk: Floats, owner: NDArray[np.intp], patients: int
) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
    """Return how often each image comes with each patient (P, N), and of the images risk, and both orders as blocks."""
    known = np.flatnonzero(np.isfinite(uncertainty) & np.isfinite(risk))
    table = np.zeros((patients, len(known)))
    table[owner[known], np.arange(len(known))] = 1
    blocks = [np.unique(part[known], return_inverse=True)[1].astype(np.float64) for part in (uncertainty, risk)]
    return table, (risk[known], blocks[0], blocks[1])


def _grouped(values: Floats, block: Floats) -> Floats:
    """Return the sums of values (D, N) over blocks of equal score (D, K)."""
    order = np.argsort(block, kind="stable")
    starts = np.searchsorted(block[order], np.arange(int(block.max(initial=-1)) + 1))
    return np.asarray(np.add.reduceat(values[:, order], starts, axis=1), np.float64)


def _aurc(times: Floats, risk: Floats, block: Floats, _: Floats) -> Floats:
    return rankings.aurc(_grouped(times, block), _grouped(times * risk, block))


def _naurc(times: Floats, risk: Floats, block: Floats, by_risk: Floats) -> Floats:
    oracle = _aurc(times, risk, by_risk, by_risk)
    mean = times @ risk / np.maximum(times.sum(-1), 1)
    spread = mean - oracle
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 1e-12, (_aurc(times, risk, block, by_risk) - oracle) / spread, np.nan)


def _auroc_below(tau: float) -> ErrorScore:
    def score(times: Floats, risk: Floats, block: Floats, _: Floats) -> Floats:
        failed = (risk > 1 - tau).astype(np.float64)
        return detection.auroc_of_blocks(_grouped(times * (1 - failed), block), _grouped(times * failed, block))

    return score


def _size_correlation(evidence: ReportData, variant: str, column: str) -> float:
    """Return the mean over seeds of Spearman's correlation with the predicted area, over all clean test images."""
    rows = evidence.results.records.filter(pl.col("variant") == variant, pl.col("condition") == "clean")
    found = list(_per_seed(rows, column))
    return float(np.mean(found)) if found else float("nan")


def _per_seed(rows: pl.DataFrame, column: str) -> Iterator[float]:
    for _, frame in rows.group_by("seed", maintain_order=True):
        yield spearman(
            frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy(), frame["predicted_px"].to_numpy()
        )
