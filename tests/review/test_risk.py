"""The table behind the threshold slider, against direct counts."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.review.given import MODEL, records, write_run

from trustseg.errors import DataError, MissingFileError
from trustseg.review.cases import open_cases
from trustseg.review.risk import Similar, read_risk, risk_table

COLUMN = "u_entropy_soft_dice_confidence"


def test_the_table_counts_what_is_kept() -> None:
    table = records()
    scores, dice = table[COLUMN].to_numpy(), table["dice"].to_numpy()
    found = risk_table(table, COLUMN, tau=0.5, draws=50)
    assert (found.images, found.patients) == (60, 30)
    assert [point.threshold for point in found.points] == sorted({point.threshold for point in found.points})
    for point in found.points:
        kept = scores <= point.threshold
        assert point.coverage == pytest.approx(kept.mean())
        assert point.risk.value == pytest.approx((1 - dice[kept]).mean())
        assert point.failures.value == pytest.approx((dice[kept] < 0.5).mean())
    last = found.points[-1]
    assert last.coverage == 1
    assert last.risk.low < last.risk.value < last.risk.high


def test_undefined_dice_is_no_risk_and_other_conditions_do_not_count() -> None:
    table = records(4).with_columns(dice=pl.Series([0.5, None, 0.25, 0.0]))
    attacked = table.with_columns(condition=pl.lit("fgsm"), dice=pl.lit(0.0))
    found = risk_table(pl.concat([table, attacked]), COLUMN, tau=0.4, draws=10)
    assert found.images == 4
    assert found.points[-1].risk.value == pytest.approx((0.5 + 0.75 + 1) / 3)
    assert found.points[-1].failures.value == pytest.approx(2 / 4)


def scored(scores: list[float], failed: list[int]) -> pl.DataFrame:
    """Return records of clean images that failed or not."""
    dice = [0.0 if each else 1.0 for each in failed]
    patients = [f"p{place}" for place in range(len(scores))]
    return pl.DataFrame({"condition": "clean", COLUMN: scores, "dice": dice, "patient": patients})


def test_the_chance_of_failure_never_falls_and_adds_up() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 60, 200) / 60
    failed = (rng.random(200) < scores).astype(int)
    found = risk_table(scored(scores.tolist(), failed.tolist()), COLUMN, tau=0.5, draws=2)
    assert sum(group.images for group in found.groups) == 200
    assert min(group.images for group in found.groups) >= 10
    assert found.chance(scores).sum() == pytest.approx(failed.sum())
    chances = found.chance(np.linspace(-0.5, 1.5, 101))
    assert (np.diff(chances) >= 0).all()
    assert chances[0] < 0.2 < 0.8 < chances[-1]


def test_two_failures_at_the_top_are_no_certainty_and_few_images_tell_nothing() -> None:
    """Of 30 images the two with the highest scores failed: 2 of the 10 highest did, not 100 %."""
    found = risk_table(scored([number / 30 for number in range(30)], [0] * 28 + [1] * 2), COLUMN, tau=0.5, draws=2)
    assert found.groups == (Similar(0, 20), Similar(2, 10))
    assert [found.similar(score) for score in (2.0, -1.0, math.nan)] == [Similar(2, 10), Similar(0, 20), None]
    assert Similar(2, 10).ends == pytest.approx((0.0252, 0.5561), abs=1e-4)  # tables of Clopper and Pearson
    assert Similar(0, 20).ends == pytest.approx((0.0, 0.1684), abs=1e-4)
    few = risk_table(scored([number / 9 for number in range(9)], [0] * 8 + [1]), COLUMN, tau=0.5, draws=2)
    assert (few.groups, few.similar(1.0)) == ((), None)
    assert np.isnan(few.chance([1.0])).all()


def test_records_are_found_below_a_run_by_their_model(predictions: Path, tmp_path: Path) -> None:
    folder = open_cases(predictions)
    run = write_run(tmp_path / "run")
    for path in (run, run / "evaluation-test", run / "evaluation-test" / "validation.parquet"):
        assert read_risk(path, folder, draws=2).images == 60
    with pytest.raises(MissingFileError, match="no records"):
        read_risk(tmp_path, folder)
    with pytest.raises(DataError, match="of model ffff, the predictions of model 0123"):
        read_risk(write_run(tmp_path / "other", model="ffff"), folder)
    with pytest.raises(DataError, match="no score vacuity"):
        read_risk(run, folder._replace(measure="vacuity"))
    for table, words in (
        (records().drop(COLUMN), "score"),
        (records().with_columns(split=pl.lit("test")), "test split"),
    ):
        table.write_parquet(tmp_path / "records.parquet")
        (tmp_path / "evaluation.json").write_text(json.dumps({"model": MODEL}))
        with pytest.raises(DataError, match=words):
            read_risk(tmp_path, folder)
