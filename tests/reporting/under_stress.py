"""The stressed study looked at by hand: its records, its rows, plain means."""

import polars as pl

from trustseg.reporting.contents import Contents
from trustseg.reporting.report_data import ReportData
from trustseg.statistics import Interval

EPS = 2 / 255


def plain(data: ReportData, variant: str, condition: str, eps: float) -> pl.DataFrame:
    return data.results.records.filter(
        pl.col("variant") == variant, pl.col("condition") == condition, (pl.col("eps") - eps).abs() < 1e-6
    ).sort("image", "seed")


def row_of(stress: Contents, table: str, **wanted: str) -> dict[str, object]:
    rows = [row for row in stress.tables[table].rows if wanted.items() <= row.items()]
    assert len(rows) == 1
    return dict(rows[0])


def value_of(row: dict[str, object], key: str) -> float:
    found = row[key]
    if isinstance(found, Interval):
        return found.value
    assert isinstance(found, float)
    return found


def mean_dice(data: ReportData, variant: str, condition: str, eps: float = 0.0) -> float:
    frame = plain(data, variant, condition, eps)
    return float(frame.filter(pl.col("mask_px") > 0)["dice"].to_numpy().mean())
