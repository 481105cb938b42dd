"""Calibration by region of the image."""

from pathlib import Path

import polars as pl
from tests.reporting.fake_results import write_study

from trustseg.reporting.report_data import collect
from trustseg.reporting.results import load_results
from trustseg.reporting.score_tables import calibration_regions


def test_calibration_by_region_reads_its_own_pixels(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=6, gallery=False)
    path = next(folder.glob("cells/*/calibration.parquet"))
    whole = pl.read_parquet(path)
    assert calibration_regions(collect(load_results(folder), draws=5), draws=5).rows == ()
    certain = whole.with_columns(sum_probability=pl.lit(0.0), sum_reference=pl.col("count") * 1.0)
    none = whole.with_columns(pl.lit(0).alias(name).cast(whole.schema[name]) for name in whole.columns[2:5])
    regions = {"whole": whole, "boundary": certain, "foreground": none}
    pl.concat(frame.with_columns(region=pl.lit(name)) for name, frame in regions.items()).write_parquet(path)
    data = collect(load_results(folder), draws=5)
    row = calibration_regions(data, draws=5).frame().row(0, named=True)
    assert row["whole"] == data.score("beta, none", ("clean", 0.0), "ece").value
    assert row["boundary"] == 1.0
    assert row["foreground"] != row["foreground"]  # no pixel: undefined
