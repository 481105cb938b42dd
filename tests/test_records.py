"""Tables that were tampered with are refused by file and column; those of earlier versions are read."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from trustseg.errors import DataError
from trustseg.former_names import AGGREGATIONS as FORMER
from trustseg.records import CALIBRATION, HISTOGRAMS, check_pixels, read_records, read_table

Tamper = Callable[[pl.DataFrame], pl.DataFrame]

RECORDS = pl.DataFrame(
    {
        "image": ["a", "b", "a", "b"],
        "patient": ["p", "q", "p", "q"],
        "condition": ["clean", "clean", "pgd", "pgd"],
        "eps": [0.0, 0.0, 0.1, 0.1],
        "kind": ["clean", "clean", "attack", "attack"],
        "severity": [0, 0, 0, 0],
        "pixels": [9, 9, 9, 9],
        "mask_px": [4, 0, 4, 0],
        "predicted_px": [3, 0, 2, 1],
        "intersection_px": [3, 0, 1, 0],
        "dice": [6 / 7, float("nan"), 1 / 3, 0.0],
        "iou": [0.75, float("nan"), 0.2, 0.0],
        "u_entropy_mean": [0.1, 0.2, 0.3, 0.4],
    }
)
SUMS = pl.DataFrame({"condition": "clean", "eps": 0.0, "patient": ["p", "q"], "bin": [1, 1], "count": [9, 9]})
ERRORS = SUMS.with_columns(measure=pl.lit("entropy"), wrong=pl.Series([1, 0]), brier=pl.Series([0.5, 0.1]))
RELIABILITY = SUMS.with_columns(sum_probability=pl.Series([3.0, 0.1]), sum_reference=pl.Series([4.0, 0.0]))


def put(column: str, value: object) -> Tamper:
    return lambda table: table.with_columns(pl.lit(value).alias(column))


def in_last(column: str, value: object) -> Tamper:
    """Change the attacked row of the image b alone."""
    return lambda table: table.with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )


def twice(table: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([table, table])


def test_tables_are_read_as_they_are(tmp_path: Path) -> None:
    for table, schema in ((ERRORS, HISTOGRAMS), (RELIABILITY, CALIBRATION)):
        table.write_parquet(tmp_path / schema.name)
        assert read_table(tmp_path / schema.name, schema).equals(table)
        check_pixels(table, RECORDS, within=[], path=tmp_path)
        with pytest.raises(DataError, match="18"):
            check_pixels(table.with_columns(pl.col("count") * 2), RECORDS, within=[], path=tmp_path)
    RECORDS.write_parquet(tmp_path / "[records].parquet")
    assert read_records(tmp_path / "[records].parquet").equals(RECORDS)


def test_tables_of_earlier_versions(tmp_path: Path) -> None:
    (former, name), *_ = FORMER.items()
    older = RECORDS.drop("kind", "severity").rename({"u_entropy_mean": f"u_entropy_{former}"})
    older = older.with_columns(regime=pl.lit("random"))
    older.write_parquet(tmp_path / "records.parquet")
    found = read_records(tmp_path / "records.parquet")
    assert found["kind"].to_list() == RECORDS["kind"].to_list()
    assert f"u_entropy_{name}" in found.columns
    assert found["selection"].unique().to_list() == ["random"]
    assert "regime" not in found.columns


@pytest.mark.parametrize(
    ("tamper", "column"),
    [
        *(((lambda table, name=name: table.drop(name)), name) for name in RECORDS.columns[:3] + RECORDS.columns[6:12]),
        *((put(name, "<script>"), name) for name in ("eps", "kind", "pixels", "dice", "u_entropy_mean")),
        *((put(name, -5), name) for name in ("eps", "severity", "pixels", "mask_px", "predicted_px", "dice")),
        *((put(name, 1000), name) for name in ("mask_px", "predicted_px", "intersection_px", "dice", "image")),
        *((put(name, None), name) for name in ("image", "patient", "condition", "eps", "pixels")),
        *((put(name, [1]), name) for name in ("image", "dice")),
        (put("eps", float("nan")), "eps"),
        (put("u_entropy_mean", float("inf")), "u_entropy_mean"),
        (twice, "image"),
        *((in_last(name, value), f"{name}.*image b") for name, value in (("patient", "p"), ("pixels", 8))),
        (lambda table: in_last("mask_px", 1)(table).with_columns(iou=None, dice=None), "mask_px.*image b"),
        (lambda table: in_last("group_sex", "f")(table.with_columns(group_sex=pl.lit("m"))), "group_sex.*image b"),
        (put("size", 2), "size 2.*image a"),
        (put("dice", 0.9), "dice.*image a, patient p, condition clean"),
        (put("intersection_px", 0), "dice"),
        (lambda table: table.with_columns(iou=pl.col("dice")), "iou"),
        (
            lambda table: table.with_columns(dice=pl.col("dice").fill_nan(1)),
            "dice.*image b, patient q, condition clean",
        ),
        (
            lambda table: table.with_columns(mask_px=pl.col("intersection_px") - 1).filter(pl.col("mask_px") >= 0),
            "dice",
        ),
    ],
)
def test_tampered_records_are_refused(tmp_path: Path, tamper: Tamper, column: str) -> None:
    tamper(RECORDS).write_parquet(tmp_path / "records.parquet")
    with pytest.raises(DataError, match=rf"records\.parquet.*{column}") as caught:
        read_records(tmp_path / "records.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("schema", [HISTOGRAMS, CALIBRATION], ids=lambda schema: schema.name)
def test_tampered_sums_are_refused(tmp_path: Path, schema: object) -> None:
    table = ERRORS if schema is HISTOGRAMS else RELIABILITY
    part = "wrong" if schema is HISTOGRAMS else "sum_reference"
    for tamper in (put("count", -1), put(part, 10), put("bin", "x"), put("count", None), twice):
        tamper(table).write_parquet(tmp_path / "sums.parquet")
        with pytest.raises(DataError, match=r"sums\.parquet"):
            read_table(tmp_path / "sums.parquet", HISTOGRAMS if schema is HISTOGRAMS else CALIBRATION)


@pytest.mark.parametrize("content", [b"", b"PAR1 no table", b"\xff\xfe"])
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "records.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"records\.parquet"):
        read_records(tmp_path / "records.parquet")
