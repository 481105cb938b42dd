"""Three ways to break a model: the mildest changes under which its Dice falls, and its worst cases."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from trustseg.audit.evidence import Evidence
from trustseg.audit.quantities import QUANTITIES, MeasuredImages
from trustseg.reporting.cell_tables import at
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition
from trustseg.statistics import Interval
from trustseg.tables import floats_of

__all__ = ["BROKEN", "Break", "first_breaks", "ways_to_break", "worst_cases"]

BROKEN: Final = 0.1  # fall of the mean Dice from which a change is said to break a model
_MOST: Final = 3
_OF_A_KIND: Final = 2
_VISIBLE: Final = 0.005  # a fall of the mean Dice that two digits show
_LARGEST_EPS: Final = 8 / 255


@dataclass(frozen=True, slots=True)
class Break:
    """A change of the images, and what it costs."""

    condition: ConditionKey
    kind: Literal["shift", "attack"]
    family: str  # name of the shift or attack
    level: float  # how strong it is, from 0 to 1, the strongest of its family
    drop: Interval  # mean fall of Dice
    dice: float  # mean Dice under it
    image: str  # the image whose Dice falls most

    @property
    def words(self) -> str:
        """Return the change in words."""
        return describe_condition(self.condition)

    @property
    def breaks(self) -> bool:
        """Return whether the mean Dice falls by at least ``BROKEN``."""
        return self.drop.value >= BROKEN


def _all_breaks(evidence: Evidence, draws: int) -> list[Break]:
    changed = evidence.changed
    if changed is None:
        return []
    clean = changed.records.filter(at(CLEAN)).select("image", before="dice")
    breaks = []
    for key in evidence.conditions():
        rows = changed.records.filter(at(key), pl.col("mask_px") > 0).join(clean, on="image", maintain_order="left")
        falls = floats_of(rows, "before") - floats_of(rows, "dice")
        if not np.isfinite(falls).any():
            continue
        severity = int(rows["severity"][0])
        kind: Literal["shift", "attack"] = "shift" if rows["kind"][0] == "shift" else "attack"
        family = key[0].removesuffix(f"_{severity}") if kind == "shift" else key[0]
        level = severity / 5 if kind == "shift" else key[1] / _LARGEST_EPS
        drop = QUANTITIES["dice_drop"](MeasuredImages(evidence, key, draws=draws))
        image = str(rows["image"][int(np.nanargmax(falls))])
        breaks.append(Break(key, kind, family, level, drop, float(np.nanmean(floats_of(rows, "dice"))), image))
    return breaks


def first_breaks(evidence: Evidence, *, draws: int = 2000) -> list[Break]:
    """Return of each shift and attack the mildest level that breaks the model, else the level that costs most."""
    families: dict[str, list[Break]] = {}
    for each in _all_breaks(evidence, draws):
        families.setdefault(each.family, []).append(each)
    return [
        min((each for each in found if each.breaks), key=lambda each: each.level, default=None)
        or max(found, key=lambda each: each.drop.value)
        for found in families.values()
    ]


def ways_to_break(breaks: list[Break]) -> list[Break]:
    """Return up to three changes to show: those that break at the mildest level, at most two of a kind if others do.

    Those that lower the mean Dice by less than two digits show are left out, unless there is no other.
    """
    order = sorted(breaks, key=lambda each: (not each.breaks, each.level if each.breaks else 0, -each.drop.value))
    order = [each for each in order if each.drop.value >= _VISIBLE] or order[:1]
    shown: list[Break] = []
    for each in order:
        if len(shown) < _MOST and sum(other.kind == each.kind for other in shown) < _OF_A_KIND:
            shown.append(each)
    other_breaks = [each for each in order if each not in shown]
    return [*shown, *other_breaks][:_MOST]


def worst_cases(evidence: Evidence, count: int = _MOST) -> pl.DataFrame:
    """Return the images with the lowest Dice among those with foreground, and what the score says of them."""
    rows = evidence.rows(CLEAN).filter(pl.col("mask_px") > 0, pl.col("dice").is_not_nan())
    return rows.sort("dice", "image").head(count)
