"""Scores by subgroup: what the further columns of a manifest (sex, age, site ...) and the view tell apart."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting.deferral import Deferrals
from trustseg.reporting.labels import CLEAN, describe_condition
from trustseg.reporting.report_data import ReportData, as_table
from trustseg.reporting.robustness import attacks_at_one_budget
from trustseg.reporting.tables import Row
from trustseg.reporting.value_tables import DICE, ValueTable, values_under
from trustseg.statistics import Interval, bootstrap_mean

__all__ = ["subgroups", "subgroups_of"]

_GROUP: Final = "group_"
_UNKNOWN: Final = "unknown"
_MOST: Final = 8  # numbers with more different values than this are split into thirds
_VIEW: Final = r"_vp-([a-z]+)(?:_|$)"  # as BIMCV and QaTa-COV19-v2 name images; ll: lateral


@as_table
def subgroups(data: ReportData, deferrals: Deferrals) -> Iterator[Row]:
    """Yield Dice, Dice under attack, undetected harm and deferral rate of each subgroup, with patient intervals.

    Unknown values are a subgroup of their own. The subgroup of an attribute with the lowest Dice is marked.
    """
    results, groups = data.results, subgroups_of(data.results.records)
    for variant in results.variants if groups else ():
        attack = next(reversed(data.evaluated_conditions(variant, attacks_at_one_budget(data))), None)
        decided = deferrals.decided.get(variant)
        tables: dict[str, ValueTable | None] = dict.fromkeys(("robust", "undetected", "deferral"))
        if attack:
            tables["robust"] = values_under(results.records, variant, [attack], DICE)
        if attack and decided is not None:
            tables["undetected"] = values_under(decided, variant, [attack], pl.col("undetected_harm"))
        if decided is not None:
            tables["deferral"] = values_under(decided, variant, [CLEAN], pl.col("review"))
        dice = values_under(results.records, variant, [CLEAN], DICE)
        rows = results.records.filter(pl.col("variant") == variant)
        for attribute, members in groups.items():
            images: dict[str, list[str]] = {}
            for image, name in members.items():
                images.setdefault(name, []).append(image)
            means = {name: _mean_of(dice, inside, data.draws) for name, inside in images.items()}
            defined = {name: mean.value for name, mean in means.items() if mean and not math.isnan(mean.value)}
            lowest = min(defined, key=lambda name: defined[name]) if len(defined) > 1 else None
            for name, inside in images.items():
                own, mean = rows.filter(pl.col("image").is_in(inside)), means[name]
                remarks = ("lowest Dice" if name == lowest else "", mean.warning if mean else "")
                yield {
                    "variant": variant,
                    "attribute": attribute,
                    "group": name,
                    "images": own["image"].n_unique(),
                    "patients": own["patient"].n_unique(),
                    "dice": mean,
                    "attack": describe_condition(attack) if attack else None,
                    **{key: _mean_of(table, inside, data.draws) for key, table in tables.items()},
                    "remark": "; ".join(filter(None, remarks)),
                }


def _mean_of(table: ValueTable | None, images: list[str], draws: int) -> Interval | None:
    if table is None:
        return None
    inside = np.isin(table.images, images)
    return bootstrap_mean(table.values[inside, 0], table.patients[inside], draws=draws) if inside.any() else None


def subgroups_of(records: pl.DataFrame) -> dict[str, Mapping[str, str]]:
    """Return the subgroup of each image by attribute, from columns ``group_NAME``; not of those with one value only.

    Images come in the order of their subgroups: that of an Enum, of numbers or of the alphabet, unknown ones last.
    Without a ``group_view`` the view is read from image names that tell it.
    """
    frame = records.filter(pl.col("kind") != "population").unique("image", keep="first").sort("image")
    images = frame["image"].to_list()
    columns = [name for name in frame.columns if name.startswith(_GROUP)]
    found = {column.removeprefix(_GROUP): _ranks_and_names(frame[column]) for column in columns}
    if "view" not in found:
        views = frame["image"].str.extract(_VIEW)
        names = views.replace_strict({"ll": "lateral"}, default="frontal", return_dtype=pl.String)
        known = names.set(views.is_null(), None)
        if "lateral" in known:
            found["view"] = _ranks_and_names(known)
    return {
        name: {image: group for (_, group), image in sorted(zip(groups, images, strict=True))}
        for name, groups in found.items()
        if len(set(groups)) > 1
    }


def _ranks_and_names(values: pl.Series) -> list[tuple[float, str]]:
    """Return the rank and name of the subgroup of each value: the value, or its third of the numbers."""
    unknown = (math.inf, _UNKNOWN)
    known = values.cast(pl.String).str.strip_chars()
    known = known.set(known == "", None)
    numbers = known.cast(pl.Float64, strict=False)
    numeric = numbers.is_not_null() == known.is_not_null()
    if not numeric.all() or numbers.n_unique() <= _MOST or not np.isfinite(numbers.drop_nulls().to_numpy()).all():
        ranks = (
            values.to_physical()
            if isinstance(values.dtype, pl.Enum)
            else numbers
            if numeric.all()
            else [0] * len(known)
        )
        return [unknown if name is None else (float(rank), name) for rank, name in zip(ranks, known, strict=True)]
    low, high = np.quantile(numbers.drop_nulls().to_numpy(), (1 / 3, 2 / 3))
    names = (f"up to {low:g}", f"above {low:g} up to {high:g}", f"above {high:g}")
    thirds = [None if one is None else int(one > low) + int(one > high) for one in numbers]
    return [unknown if third is None else (third, names[third]) for third in thirds]
