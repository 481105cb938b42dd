"""The tables of an evaluation against plain numpy, edges and bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from tests.evaluation.packs import pack_of, small_segmenter
from tests.evaluation.tables import CONDITIONS, CONFIG, ROWS, Tables, measured, tables_in
from torch import Tensor

from trustseg.attacks import ATTACKS
from trustseg.beliefs import Belief
from trustseg.errors import AttackError, DataError
from trustseg.evaluation import evaluate
from trustseg.evaluation.records import TABLES


def test_records_hold_every_image_under_every_condition_in_order(tables: Tables) -> None:
    keys = tables["records"].select("condition", "eps", "image", "patient").rows()
    names = pack_of().index
    expected = [(*where, names["name"][row], names["patient"][row]) for where in CONDITIONS for row in ROWS.tolist()]
    assert keys == expected
    assert tables["records"].columns[:4] == ["image", "patient", "condition", "eps"]


def test_clean_overlap_is_that_of_numpy(
    tables: Tables, clean: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
) -> None:
    alpha, beta, reference = clean
    predicted = alpha > beta
    both = (predicted & reference).sum(1)
    rows = tables["records"].filter(pl.col("condition") == "clean")
    assert rows["predicted_px"].to_list() == predicted.sum(1).tolist()
    assert rows["mask_px"].to_list() == reference.sum(1).tolist()
    assert rows["intersection_px"].to_list() == both.tolist()
    assert rows["pixels"].to_list() == [32 * 32] * len(ROWS)
    np.testing.assert_allclose(rows["dice"], 2 * both / (predicted.sum(1) + reference.sum(1)), rtol=1e-6)
    np.testing.assert_allclose(rows["iou"], both / (predicted | reference).sum(1), rtol=1e-6)
    assert 0 < predicted.sum() < predicted.size  # else the test would not tell much


def test_clean_scores_are_those_of_numpy(
    tables: Tables, clean: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
) -> None:
    alpha, beta, reference = clean
    p = alpha / (alpha + beta)
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    rows = tables["records"].filter(pl.col("condition") == "clean")
    np.testing.assert_allclose(rows["brier"], ((p - reference) ** 2).mean(1), rtol=1e-5)
    np.testing.assert_allclose(rows["nll"], -np.log(np.where(reference, p, 1 - p)).mean(1), rtol=1e-5)
    np.testing.assert_allclose(rows["u_entropy_mean"], entropy.mean(1), rtol=1e-5)
    np.testing.assert_allclose(rows["u_entropy_max"], entropy.max(1), rtol=1e-5)
    np.testing.assert_allclose(rows["u_vacuity_mean"], (2 / (alpha + beta)).mean(1), rtol=1e-5)


def test_budgets_are_kept_as_measured(tables: Tables) -> None:
    records = tables["records"]
    linf = records.filter(pl.col("condition") != "pgd2_l2")
    assert bool((linf["linf"] <= linf["eps"] + 1e-6).all())
    l2 = records.filter(pl.col("condition") == "pgd2_l2")
    assert bool((l2["l2"] <= l2["eps"] + 1e-6).all())
    assert bool((l2["l2"] > 0.4).all())  # the budget is used
    untouched = records.filter(pl.col("condition") == "clean")
    assert untouched["linf"].to_list() == untouched["l2"].to_list() == [0.0] * len(ROWS)
    assert bool((records["l2"] <= records["linf"] * 32 + 1e-9).all())


def test_an_attack_never_helps(tables: Tables) -> None:
    harm = tables["records"].pivot("condition", index="image", values="harm", aggregate_function="max")
    assert harm["pgd2"].to_list() >= harm["clean"].to_list()
    for name in ("fgsm", "pgd2", "pgd2_l2"):
        assert bool((harm[name] >= harm["clean"] - 1e-6).all()), name


def test_what_a_bernoulli_cannot_give_is_null_and_has_no_histogram(tmp_path: Path, tables: Tables) -> None:
    found = measured(tmp_path, segmenter=small_segmenter("bernoulli"))
    records = found["records"]
    for column in ("u_vacuity_mean", "u_differential_entropy_mean", "strength_median", "strength_p99"):
        assert records[column].null_count() == len(records)
    assert records["u_entropy_mean"].null_count() == 0
    assert all(found[table].schema == tables[table].schema for table in TABLES)
    assert found["histograms"]["measure"].unique().to_list() == ["entropy"]


def test_labels_come_first(tmp_path: Path) -> None:
    labels: dict[str, str | int] = {"cell": "x", "fold": 2}
    evaluate(small_segmenter(), pack_of(), ROWS[:1], CONFIG, tmp_path, labels=labels)
    found = tables_in(tmp_path)
    assert found["records"].columns[:3] == ["cell", "fold", "image"]
    assert found["records"].select("cell", "fold").unique().rows() == [("x", 2)]


def patients_of(rows: NDArray[np.int64]) -> list[str]:
    return [pack_of().index["patient"][row] for row in rows.tolist()]


def test_histograms_count_every_pixel_once(tables: Tables) -> None:
    sums = tables["histograms"].group_by("condition", "eps", "measure", "patient").agg(pl.col("count").sum())
    assert len(sums) == len(CONDITIONS) * len(CONFIG.measures) * len(set(patients_of(ROWS)))
    expected = {patient: 32 * 32 * patients_of(ROWS).count(patient) for patient in set(patients_of(ROWS))}
    for row in sums.rows(named=True):
        assert row["count"] == expected[row["patient"]]
    keys = ["condition", "eps", "measure", "patient", "bin"]
    assert not tables["histograms"].select(keys).is_duplicated().any()
    assert bool((tables["histograms"]["wrong"] <= tables["histograms"]["count"]).all())


def test_histograms_agree_with_the_records(tables: Tables) -> None:
    records = (
        tables["records"]
        .group_by("condition", "eps")
        .agg(
            wrong=(pl.col("predicted_px") + pl.col("mask_px") - 2 * pl.col("intersection_px")).sum(),
            brier=(pl.col("brier") * pl.col("pixels")).sum(),
        )
    )
    for measure in CONFIG.measures:
        pooled = (
            tables["histograms"]
            .filter(pl.col("measure") == measure)
            .group_by("condition", "eps")
            .agg(pl.col("wrong").sum(), pl.col("brier").cast(pl.Float64).sum())
        )
        assert_frame_equal(pooled, records, check_row_order=False)


@pytest.mark.parametrize("row", [0, 5, 6, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_image_is_enough(tmp_path: Path, row: int, channels: int) -> None:
    pack = pack_of(channels=3 if channels == 3 else 1)
    found = measured(
        tmp_path, pack=pack, segmenter=small_segmenter(channels=channels), rows=np.array([row], dtype=np.int64)
    )
    assert len(found["records"]) == len(CONDITIONS)


def test_no_image_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images to evaluate"):
        measured(tmp_path, rows=np.array([], dtype=np.int64))


def test_an_attack_that_cheats_leaves_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cheat(model: object, images: Tensor, masks: Tensor, *, eps: float, **options: object) -> Tensor:
        return (images + 2 * eps).clamp(0, 1)

    monkeypatch.setitem(ATTACKS, "fgsm", replace(ATTACKS["fgsm"], function=cheat))
    with pytest.raises(AttackError, match="the attack 'fgsm' exceeded its budget"):
        measured(tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


def test_any_callable_with_a_size_is_measured_like_a_segmenter(tmp_path: Path, tables: Tables) -> None:
    class Plain:
        size, channels, name, segmenter = 32, 1, "plain", small_segmenter().eval()

        def __call__(self, images: Tensor) -> Belief:
            return self.segmenter.belief(images)

    folder = evaluate(Plain(), pack_of(), ROWS, CONFIG.model_copy(update={"attacks": ()}), tmp_path, seed=3)
    found = tables_in(folder)["records"].filter(pl.col("kind") != "attack")
    expected = tables["records"].filter(pl.col("kind") != "attack")
    assert_frame_equal(found, expected.select(found.columns), rel_tol=1e-4)
