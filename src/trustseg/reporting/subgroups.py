"""Scores by subgroup: what the further columns of a manifest (sex, age, site ...) and the view tell apart."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.reporting.choices import describe_condition
from trustseg.reporting.image_scores import ConditionKey
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.robustness import compared_attacks
from trustseg.reporting.side_by_side import DICE, lay_out
from trustseg.reporting.tables import Column, Table, Value
from trustseg.reporting.unnoticed import deploy
from trustseg.statistics import Interval, bootstrap_mean

__all__ = ["subgroup_table", "subgroups_of"]

_GROUP: Final = "group_"
_CLEAN: Final[ConditionKey] = ("clean", 0.0)
_UNKNOWN: Final = "unknown"
_MOST: Final = 8  # numbers with more different values than this are cut at their terciles
_VIEW: Final = r"_vp-([a-z]+)(?:_|$)"  # as BIMCV and QaTa-COV19-v2 name images; ll: lateral


def subgroup_table(evidence: ReportData, *, draws: int) -> Table:
    """Return Dice, Dice under attack, undetected harm and deferral rate of each subgroup, with patient intervals.

    Unknown values are a subgroup of their own. The subgroup of an attribute with the lowest Dice is marked.
    """
    results = evidence.results
    seen = deploy(results)
    groups = subgroups_of(results.records)
    attacks = compared_attacks(evidence)
    rows: list[dict[str, Value]] = []
    for variant in results.variants if groups else ():
        attack = next((place for place in reversed(attacks) if (variant, place) in evidence.robustness), None)
        under, decided = attack or _CLEAN, _has(seen, variant)
        sheets = {
            "dice": lay_out(results, variant, [_CLEAN], DICE),
            "robust": lay_out(results, variant, [under], DICE) if attack else None,
            "undetected": lay_out(seen, variant, [under], pl.col("unnoticed")) if attack and decided else None,
            "deferral": lay_out(seen, variant, [_CLEAN], pl.col("reviewed")) if decided else None,
        }
        for attribute, members in groups.items():
            block: list[dict[str, Value]] = []
            for name in sorted(set(members.values()), key=lambda name: (name == _UNKNOWN, name)):
                scores: dict[str, Interval | None] = {}
                for key, sheet in sheets.items():
                    inside = None if sheet is None else np.array([members.get(one) == name for one in sheet.images])
                    scores[key] = (
                        bootstrap_mean(sheet.values[inside, 0], sheet.patients[inside], draws=draws)
                        if sheet is not None and inside is not None and inside.any()
                        else None
                    )
                own = results.records.filter(pl.col("variant") == variant, pl.col("image").is_in(_named(members, name)))
                block.append(
                    {
                        "variant": variant,
                        "attribute": attribute,
                        "group": name,
                        "images": own["image"].n_unique(),
                        "patients": own["patient"].n_unique(),
                        **scores,
                        "attack": describe_condition(*attack) if attack else None,
                        "remark": scores["dice"].warning if scores["dice"] else None,
                    }
                )
            rows += _with_worst(block)
    columns = (
        Column("variant", "Variant"),
        Column("attribute", "Attribute"),
        Column("group", "Subgroup"),
        Column("images", "Images"),
        Column("patients", "Patients"),
        Column("dice", "Dice"),
        Column("attack", "Attack"),
        Column("robust", "Dice under attack"),
        Column("undetected", "Undetected harm ↓"),
        Column("deferral", "Deferral rate, clean"),
        Column("remark", "Remark"),
    )
    title = (
        "Subgroups, with 95 % intervals over patients. Numbers with many values are cut at their terciles. The lowest "
        "Dice of an attribute is marked; among several subgroups one is lowest by chance, so compare the intervals"
    )
    return Table("subgroups", title, columns, tuple(rows))


def subgroups_of(records: pl.DataFrame) -> dict[str, Mapping[str, str]]:
    """Return the subgroup of each image by attribute; attributes with one value only are left out.

    Args:
        records: with ``image`` and columns ``group_NAME``; without a ``group_view`` the view is read from names that
            tell it.
    """
    frame = records.filter(pl.col("kind") != "population").unique("image", keep="first").sort("image")
    images = frame["image"].to_list()
    found: dict[str, Mapping[str, str]] = {}
    for column in [name for name in frame.columns if name.startswith(_GROUP)]:
        labels = _labels(frame[column].cast(pl.String))
        found[column.removeprefix(_GROUP)] = dict(zip(images, labels, strict=True))
    if "view" not in found:
        views = frame["image"].str.extract(_VIEW)
        names = views.replace_strict({"ll": "lateral"}, default="frontal", return_dtype=pl.String)
        labels = [_UNKNOWN if view is None else name for view, name in zip(views, names, strict=True)]
        if "lateral" in labels:
            found["view"] = dict(zip(images, labels, strict=True))
    return {name: members for name, members in found.items() if len(set(members.values())) > 1}


def _labels(values: pl.Series) -> list[str]:
    """Return the name of the subgroup of each value: the value, or its third of the numbers."""
    known = values.str.strip_chars()
    known = known.set(known == "", None)
    numbers = known.cast(pl.Float64, strict=False)
    numeric = numbers.is_not_null() == known.is_not_null()
    if not numeric.all() or numbers.n_unique() <= _MOST or not np.isfinite(numbers.drop_nulls().to_numpy()).all():
        return [value if value is not None else _UNKNOWN for value in known]
    values_known: NDArray[np.float64] = numbers.drop_nulls().to_numpy()
    low, high = np.quantile(values_known, (1 / 3, 2 / 3))
    names = (f"up to {low:g}", f"above {low:g} up to {high:g}", f"above {high:g}")
    return [_UNKNOWN if one is None else names[int(one > low) + int(one > high)] for one in numbers]


def _named(members: Mapping[str, str], name: str) -> list[str]:
    return [image for image, group in members.items() if group == name]


def _has(results: Results, variant: str) -> bool:
    """Return whether there are records of a variant."""
    return not results.records.is_empty() and variant in results.records["variant"].to_list()


def _with_worst(block: list[dict[str, Value]]) -> list[dict[str, Value]]:
    """Return the rows of one attribute with a remark on the lowest Dice."""
    found = [(row, row["dice"]) for row in block]
    known = [(row, dice.value) for row, dice in found if isinstance(dice, Interval) and not math.isnan(dice.value)]
    worst = min(known, key=lambda pair: pair[1])[0] if len(known) > 1 else None
    return [
        row | {"remark": "; ".join(filter(None, ["lowest Dice" if row is worst else "", str(row["remark"] or "")]))}
        for row in block
    ]
