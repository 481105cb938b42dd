"""The table behind the threshold slider, against direct counts."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.review.given import records, write_predictions, write_run

from trustseg.errors import DataError, MissingFileError
from trustseg.review.cases import open_cases
from trustseg.review.risk import read_risk, risk_table

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


def test_the_chance_of_failure_never_falls_and_equals_an_independent_fit() -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, 200) / 30
    dice = np.clip(1 - scores + rng.normal(0, 0.3, 200), 0, 1)
    table = pl.DataFrame({"condition": "clean", COLUMN: scores, "dice": dice, "patient": [f"p{i}" for i in range(200)]})
    found = risk_table(table, COLUMN, tau=0.5, draws=2)
    peer = isotonic.IsotonicRegression(out_of_bounds="clip").fit(scores, (dice < 0.5).astype(float))
    asked = np.linspace(-0.5, 1.5, 101)
    np.testing.assert_allclose(found.chance(asked), peer.predict(asked), atol=1e-12)


def test_records_are_found_below_a_run_by_their_model(predictions: Path, tmp_path: Path) -> None:
    folder = open_cases(predictions)
    run = write_run(tmp_path / "run")
    for path in (run, run / "evaluation-test", run / "evaluation-test" / "validation.parquet"):
        assert read_risk(path, folder, draws=2).images == 60
    with pytest.raises(MissingFileError, match="no records"):
        read_risk(tmp_path, folder)
    with pytest.raises(DataError, match="of model ffff, the predictions of model 0123"):
        read_risk(write_run(tmp_path / "other", model="ffff"), folder)


@pytest.mark.parametrize("broken", ["test split", "no score"])
def test_unfit_records_are_refused(predictions: Path, tmp_path: Path, broken: str) -> None:
    table = records()
    table = table.drop(COLUMN) if broken == "no score" else table.with_columns(split=pl.lit("test"))
    table.write_parquet(tmp_path / "records.parquet")
    (tmp_path / "evaluation.json").write_text(json.dumps({"model": "0123456789abcdef"}))
    with pytest.raises(DataError, match="score" if broken == "no score" else "test split"):
        read_risk(tmp_path, open_cases(predictions))


def test_a_table_of_another_score_is_refused(tmp_path: Path) -> None:
    folder = open_cases(write_predictions(tmp_path / "out"))
    run = write_run(tmp_path / "run")
    with pytest.raises(DataError, match="no score vacuity"):
        read_risk(run, folder._replace(measure="vacuity"))
