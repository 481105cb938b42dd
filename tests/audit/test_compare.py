"""Two audits of the same cases."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.audit.given import maps_of, pack_of_shifts

from trustseg.audit import Requirement, audit, compare
from trustseg.errors import DataError, MissingFileError
from trustseg.statistics import Interval

pytestmark = pytest.mark.usefixtures("undrawn")
ASKED = [Requirement(metric="dice", at_least=0.1)]


def test_differences_are_paired_and_in_closed_form(tmp_path: Path) -> None:
    pack = pack_of_shifts([2, 4, 6, 2, 4, 6])
    worse = {name: values * (1 - 0.75 * (place % 2)) for place, (name, values) in enumerate(maps_of(pack).items())}
    for folder, maps in (("first", maps_of(pack)), ("second", worse)):
        audit(maps, pack, ASKED, folder=tmp_path / folder, draws=50, pictures=False)
    rows = {row["metric"]: row for row in compare(tmp_path / "first", tmp_path / "second", draws=200).rows}
    lost = [0.5, 0.75, 0.25]  # every second case finds nothing
    difference = rows["Dice"]["difference"]
    assert isinstance(difference, Interval)
    assert difference.value == pytest.approx(sum(lost) / 6)
    assert rows["Dice"]["first"] == pytest.approx(0.5)
    same = compare(tmp_path / "first", tmp_path / "first", draws=50)
    assert {row["verdict"] for row in same.rows} == {"includes 0"}


def test_other_cases_other_masks_and_no_audit_are_refused(tmp_path: Path) -> None:
    pack = pack_of_shifts([2, 4])
    masks = pack.masks.copy()
    masks[:, :, :16] = 0
    others = {
        "given": pack,
        "halved": replace(pack, masks=masks, digest="halved"),
        "renamed": replace(pack, index=pack.index.with_columns(name="z" + pl.col("name")), digest="renamed"),
    }
    for folder, each in others.items():
        audit(maps_of(each), each, ASKED, folder=tmp_path / folder, draws=50, pictures=False)
    for other, kind, word in (
        ("halved", DataError, "case00"),
        ("renamed", DataError, "share no image"),
        ("absent", MissingFileError, "absent"),
    ):
        with pytest.raises(kind, match=word):
            compare(tmp_path / "given", tmp_path / other)
