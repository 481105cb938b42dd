"""Tables are read from the path that is given, and no cell of a CSV is a formula."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustseg.tables import csv_text, read_csv, read_parquet, scan_parquet, write_csv

HOSTILE = ("=1+1", "+x", "-x", "@x", "\t=1", "\r=1", "\n=1", "\uff1d1", "'=1", "''-x")


@pytest.mark.parametrize("name", ["g[1]", "a*", "a?b", "~x", "$HOME", "a #b", "%41", "x\ny", "seed=1", "s3:"])
def test_paths_are_literal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The table of a sibling is never read, whatever a shell or a glob would make of the name."""
    monkeypatch.chdir(tmp_path)
    for place, value in [("g1", 1), ("aXb", 1), (name, 2)]:
        Path(place).mkdir()
        write_csv(pl.DataFrame({"value": [value]}), Path(place) / "t.csv")
        pl.DataFrame({"value": [value]}).write_parquet((Path(place) / "t.parquet").absolute())
    assert read_csv(Path(name) / "t.csv")["value"].to_list() == [2]
    assert read_parquet(Path(name) / "t.parquet").to_dicts() == [{"value": 2}]
    assert scan_parquet(Path(name) / "t.parquet").collect().to_dicts() == [{"value": 2}]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))))
def test_no_cell_is_a_formula_and_all_are_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Whatever the texts of a column are, they come back, and none begins as a formula unless it is a number."""
    texts = [text.replace("\x00", "") or "x" for text in texts]
    table = pl.DataFrame({"=name": ["x", *texts]}, schema={"=name": pl.String})
    file = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(table, file)
    assert read_csv(file, as_text=True).equals(table)
    for cell in pl.read_csv(file, infer_schema=False)["'=name"]:
        assert (
            cell[0] not in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
            or pl.Series([cell]).cast(pl.Float64, strict=False).item() is not None
        )


def test_numbers_are_left_alone() -> None:
    """Negative numbers stay numbers, as text too."""
    assert csv_text(pl.DataFrame({"a": [-1.5], "b": ["-2"]})) == "a,b\n-1.5,-2\n"
