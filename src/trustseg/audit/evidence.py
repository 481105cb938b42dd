"""The tables that an audit has measured, read like those of a study's report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.deferral import Policy
from trustseg.reporting.cell_tables import at
from trustseg.reporting.labels import CLEAN, ConditionKey
from trustseg.reporting.results import Results, results_of_one
from trustseg.reporting.value_tables import size_limits
from trustseg.tables import floats_of

__all__ = ["LESION_SIZE", "SCORE", "TAU", "Evidence", "read_results"]

TAU: Final = 0.5  # the Dice below which a segmentation has failed
SCORE: Final = ("entropy", "soft_dice_confidence")  # of the deferral policy: measure and aggregation
LESION_SIZE: Final = "group_lesion_size"
_SIZES: Final = ("none", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of one model, or of its predictions."""

    clean: Results  # unchanged records of all images
    # records of some of them under shifts and attacks, and clean; None where nothing was changed
    changed: Results | None = None
    # the deferral policy, fitted on half of the patients; None without masks or probabilities
    policy: Policy | None = None
    fitted_on: frozenset[str] = frozenset()  # the patients that it was fitted on
    # way of running the model -> share of pixels of each image whose decision changes; empty if not tested
    repeats: Mapping[str, Mapping[str, float]] | None = None
    # whether the references of `changed` are the model's clean predictions, as there are no masks
    own_reference: bool = False

    @property
    def name(self) -> str:
        """Return the name of the model."""
        return self.clean.cells[0].id

    @property
    def idle_reason(self) -> str:
        """Return why the policy sends no unchanged image to a human; empty if it sends some, or there is no policy."""
        clean = self.rows(CLEAN).drop_nulls("mask_px")
        if self.policy is None or self.policy.review(floats_of(clean, self.policy.column)).any():
            return ""
        fitted = floats_of(clean.filter(pl.col("patient").is_in(list(self.fitted_on))), self.policy.column)
        tied = int((fitted == fitted.max()).sum())
        why = f"the {self.policy.patients} patients it was fitted on are too few"
        if tied > 1:
            why = (
                f"{tied} of the {len(fitted)} images it was fitted on share the highest score, so it would have to "
                f"send all of them, and it may send at most {100 * self.policy.at_most:g} % after a correction for "
                f"{self.policy.patients} patients"
            )
        return f"the deferral policy sends no image to a human: {why}"

    def results(self, condition: ConditionKey) -> Results:
        """Return the results that hold a condition."""
        return self.clean if condition == CLEAN or self.changed is None else self.changed

    def rows(self, condition: ConditionKey, images: frozenset[str] | None = None) -> pl.DataFrame:
        """Return the records of a condition, of some images if named."""
        rows = self.results(condition).records.filter(at(condition))
        return rows if images is None else rows.filter(pl.col("image").is_in(list(images)))

    def conditions(self) -> list[ConditionKey]:
        """Return the conditions under which changed images were measured, in the order of the records."""
        if self.changed is None:
            return []
        keys = self.changed.records.select("condition", "eps").unique(maintain_order=True)
        return [(str(name), float(eps)) for name, eps in keys.iter_rows() if str(name) != "clean"]


def read_results(folder: Path, *, name: str, head: str) -> Results:
    """Return the tables of an evaluation, with the third of lesion sizes that each image belongs to."""
    results = results_of_one(folder, name=name, head=head, aggregation=SCORE[1])
    clean = results.records.filter(at(CLEAN)).select("image", area=pl.col("mask_px") / pl.col("pixels"))
    low, high = size_limits(results.records)
    if high == 0:
        return results
    area = pl.col("area")
    number = ((area > 0).cast(pl.Int8) + (area > low) + (area > high)).fill_null(0)
    sizes = clean.select(
        "image", number.replace_strict(dict(enumerate(_SIZES)), return_dtype=pl.Enum(_SIZES)).alias(LESION_SIZE)
    )
    return replace(results, records=results.records.join(sizes, on="image", how="left", maintain_order="left"))
