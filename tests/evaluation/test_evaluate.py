"""The tables of an evaluation against plain numpy, and what becomes of them when something is in the way."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from tests.evaluation.packs import pack_of, small_segmenter
from torch import Tensor

from trustseg.attacks import ATTACKS
from trustseg.config import AttackConfig, DataConfig, EvaluationConfig
from trustseg.data import Pack
from trustseg.errors import AttackError, BeliefError, DataError, UnknownNameError
from trustseg.evaluation import evaluate, rows_of_split
from trustseg.evaluation.records import TABLES
from trustseg.metrics import bin_values
from trustseg.models import Segmenter

EPS = 4 / 255
CONFIG = EvaluationConfig(
    attacks=(
        AttackConfig(name="fgsm", eps=(EPS,)),
        AttackConfig(name="pgd", eps=(0.0, EPS / 2, EPS), steps=2),
        AttackConfig(name="pgd", eps=(0.5,), steps=2, norm="l2"),
    ),
    measures=("entropy", "vacuity", "differential_entropy"),
    aggregations=("mean", "max", "foreground_mean"),
    batch_size=3,
)
CONDITIONS = [("clean", 0.0), ("fgsm", EPS), ("pgd2", EPS / 2), ("pgd2", EPS), ("pgd2_l2", 0.5)]
ROWS = np.array([0, 2, 4, 5, 6, 3], dtype=np.int64)

Tables = dict[str, pl.DataFrame]


def tables_in(folder: Path) -> Tables:
    return {table: pl.read_parquet(folder / f"{table}.parquet") for table in TABLES}


def measured(
    folder: Path,
    *,
    pack: Pack | None = None,
    segmenter: Segmenter | None = None,
    rows: NDArray[np.int64] = ROWS,
    config: EvaluationConfig = CONFIG,
    report: Callable[[int, int], None] | None = None,
) -> Tables:
    return tables_in(
        evaluate(segmenter or small_segmenter(), pack or pack_of(), rows, config, folder, report=report, seed=3)
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return measured(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def clean() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Alpha, beta and reference of every pixel (image, pixel), by numpy from the network's logits."""
    pack, segmenter = pack_of(), small_segmenter().eval()
    images = torch.from_numpy(pack.images[ROWS].astype(np.float32)) / 255
    with torch.no_grad():
        logits = segmenter.network((images - 0.5) / 0.25).double().numpy()
    alpha, beta = 1 + np.log1p(np.exp(np.moveaxis(logits, 1, 0).reshape(2, len(ROWS), -1)))
    return alpha, beta, pack.masks[ROWS].reshape(len(ROWS), -1) == 1


# --- records ---------------------------------------------------------------------------------------------------------


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


def test_strengths_are_those_of_numpy(
    tmp_path: Path, tables: Tables, clean: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
) -> None:
    strength = np.sort(clean[0] + clean[1], axis=1)
    rows = tables["records"].filter(pl.col("condition") == "clean")
    np.testing.assert_allclose(rows["strength_median"], strength[:, 32 * 32 // 2 - 1], rtol=1e-6)
    np.testing.assert_allclose(rows["strength_p99"], strength[:, int(np.ceil(0.99 * 32 * 32)) - 1], rtol=1e-6)
    classical = measured(tmp_path, segmenter=small_segmenter("bernoulli"))["records"]
    assert classical["strength_median"].null_count() == classical["strength_p99"].null_count() == len(classical)


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


def test_empty_predictions_and_masks_are_undefined_not_zero(tmp_path: Path) -> None:
    certain = small_segmenter("bernoulli")
    for parameter in certain.network.parameters():
        torch.nn.init.zeros_(parameter)
    last = [module for module in certain.network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    assert last.bias is not None
    torch.nn.init.constant_(last.bias, -20.0)  # predicts nothing anywhere, with p = 2e-9
    records = measured(tmp_path, segmenter=certain, rows=np.array([4, 5], dtype=np.int64))["records"]
    rows = records.filter(pl.col("condition") == "clean").rows_by_key("image", named=True, unique=True)
    assert rows["image4"]["dice"] == rows["image4"]["iou"] == 0
    assert rows["image4"]["harm"] == 1
    assert np.isnan(rows["image5"]["dice"])
    assert np.isnan(rows["image5"]["iou"])
    assert rows["image5"]["harm"] == 0
    assert rows["image5"]["mask_px"] == rows["image5"]["predicted_px"] == 0


def test_measures_a_bernoulli_cannot_give_are_null_and_have_no_histogram(tmp_path: Path) -> None:
    found = measured(tmp_path, segmenter=small_segmenter("bernoulli"))
    records = found["records"]
    for column in (f"u_{measure}_mean" for measure in ("vacuity", "differential_entropy")):
        assert records[column].dtype == pl.Float64
        assert records[column].null_count() == len(records)
    assert records["u_entropy_mean"].null_count() == 0
    assert found["histograms"]["measure"].unique().to_list() == ["entropy"]


def test_both_heads_have_the_same_columns(tmp_path: Path, tables: Tables) -> None:
    other = measured(tmp_path, segmenter=small_segmenter("bernoulli"))
    for table in TABLES:
        assert other[table].schema == tables[table].schema


def test_labels_come_first(tmp_path: Path) -> None:
    labels: dict[str, str | int] = {"cell": "x", "fold": 2}
    evaluate(small_segmenter(), pack_of(), ROWS[:1], CONFIG, tmp_path, labels=labels)
    found = tables_in(tmp_path)
    assert found["records"].columns[:3] == ["cell", "fold", "image"]
    assert found["records"].select("cell", "fold").unique().rows() == [("x", 2)]


# --- histograms ------------------------------------------------------------------------------------------------------


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
            .agg(pl.col("wrong").sum(), pl.col("brier").sum())
        )
        assert_frame_equal(pooled, records, check_row_order=False)


def test_clean_histograms_equal_a_brute_force_binning(
    tables: Tables, clean: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
) -> None:
    """A pixel lies in the bin whose middle is nearest, up to float32 rounding at the edges."""
    alpha, beta, reference = clean
    vacuity = 2 / (alpha + beta)
    wrong = (alpha > beta) != reference
    patients = np.array(patients_of(ROWS))
    values = bin_values("coarse").double().numpy()
    found = tables["histograms"].filter((pl.col("condition") == "clean") & (pl.col("measure") == "vacuity"))
    for patient in set(patients.tolist()):
        mine = patients == patient
        counts, mistakes = np.zeros(len(values)), np.zeros(len(values))
        for u, bad in zip(vacuity[mine].ravel(), wrong[mine].ravel(), strict=True):
            place = int(np.abs(values - u).argmin())
            counts[place] += 1
            mistakes[place] += bad
        rows = found.filter(pl.col("patient") == patient)
        table_counts, table_mistakes = np.zeros(len(values)), np.zeros(len(values))
        table_counts[rows["bin"].to_numpy()] = rows["count"].to_numpy()
        table_mistakes[rows["bin"].to_numpy()] = rows["wrong"].to_numpy()
        assert np.abs(table_counts - counts).sum() <= 4  # a pixel at an edge counts twice here
        assert np.abs(table_mistakes - mistakes).sum() <= 4


# --- calibration -----------------------------------------------------------------------------------------------------


def test_calibration_counts_equal_a_loop(
    tables: Tables, clean: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
) -> None:
    alpha, beta, reference = clean
    p = alpha / (alpha + beta)
    patients = np.array(patients_of(ROWS))
    found = tables["calibration"].filter(pl.col("condition") == "clean", pl.col("region") == "whole")
    for patient in set(patients.tolist()):
        mine = patients == patient
        rows = found.filter(pl.col("patient") == patient).sort("bin")
        assert rows["bin"].to_list() == list(range(15))
        for number, row in enumerate(rows.rows(named=True)):
            inside = (p[mine] >= number / 15) & ((p[mine] < (number + 1) / 15) | (number == 14))
            assert row["count"] == inside.sum()
            assert row["sum_probability"] == pytest.approx(p[mine][inside].sum(), rel=1e-5)
            assert row["sum_reference"] == reference[mine][inside].sum()


def test_calibration_counts_every_pixel_and_every_lesion(tables: Tables) -> None:
    whole = tables["calibration"].filter(pl.col("region") == "whole")
    sums = whole.group_by("condition", "eps").agg(pl.col("count").sum(), pl.col("sum_reference").sum())
    masks = pack_of().masks[ROWS]
    for row in sums.rows(named=True):
        assert (row["count"], row["sum_reference"]) == (masks.size, masks.sum())


# --- repeatability ---------------------------------------------------------------------------------------------------


def assert_same(found: Tables, expected: Tables) -> None:
    for table in TABLES:
        assert_frame_equal(found[table], expected[table], check_exact=True)


def test_the_same_call_gives_the_same_tables(tmp_path: Path, tables: Tables) -> None:
    assert_same(measured(tmp_path), tables)


def files_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_nothing_but_the_tables_is_left(tmp_path: Path) -> None:
    measured(tmp_path)
    assert sorted(files_in(tmp_path)) == sorted(["evaluation.json", *(f"{table}.parquet" for table in TABLES)])


def test_a_finished_evaluation_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(tmp_path)
    before = files_in(tmp_path)
    (tmp_path / "parts").mkdir()  # left by a process that was killed while it tidied up
    monkeypatch.setattr("trustseg.evaluation.conditions.ATTACKS", {})
    done: list[tuple[int, int]] = []
    measured(tmp_path, report=lambda number, total: done.append((number, total)))
    assert files_in(tmp_path) == before
    assert done == [(len(CONDITIONS), len(CONDITIONS))]
    measured(tmp_path, config=CONFIG.model_copy(update={"gallery": 0}))  # does not touch the tables
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("other", ["weights", "rows", "config", "labels", "lost table"])
def test_tables_of_another_evaluation_are_replaced(tmp_path: Path, tables: Tables, other: str) -> None:
    evaluate(
        small_segmenter(seed=other == "weights"),
        pack_of(),
        ROWS[:2] if other == "rows" else ROWS,
        CONFIG.model_copy(update={"batch_size": 2}) if other == "config" else CONFIG,
        tmp_path,
        labels={"cell": "x"} if other == "labels" else None,
        seed=3,
    )
    if other == "lost table":
        (tmp_path / "calibration.parquet").unlink()
    assert_same(measured(tmp_path), tables)


def test_tables_that_are_half_replaced_are_not_called_finished(
    tmp_path: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(tmp_path)
    written: list[Path] = []

    def killing(self: pl.DataFrame, path: Path) -> None:
        if path.parent == tmp_path:
            if written:
                raise Killed
            written.append(path)
        original(self, path)

    original = pl.DataFrame.write_parquet
    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", killing)
        with pytest.raises(Killed):
            measured(tmp_path, rows=ROWS[:2])
    assert_same(measured(tmp_path), tables)


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("after", range(1, len(CONDITIONS) + 1))
def test_a_killed_evaluation_goes_on_and_ends_the_same(
    tmp_path: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    def kill(done: int, total: int) -> None:
        assert total == len(CONDITIONS)
        if done == after:
            raise Killed

    with pytest.raises(Killed):
        measured(tmp_path, report=kill)
    assert not (tmp_path / "records.parquet").exists()
    folder = next((tmp_path / "parts").iterdir())
    (folder / "fgsm_0p015686.records.parquet.4711.partial").write_text("what a killed writer leaves")

    seen: list[str] = []
    original = ATTACKS["fgsm"]

    def counted(*arguments: Tensor, **options: float) -> Tensor:
        seen.append("fgsm")
        return original(*arguments, **options)  # type: ignore[arg-type]  # passed through

    attacks: dict[str, object] = {**ATTACKS, "fgsm": counted}
    monkeypatch.setattr("trustseg.evaluation.conditions.ATTACKS", attacks)
    done: list[int] = []
    assert_same(measured(tmp_path, report=lambda number, total: done.append(number)), tables)
    assert done == list(range(1, len(CONDITIONS) + 1))
    assert bool(seen) == (after < 2)  # what was finished is not repeated
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("other", ["weights", "rows", "data", "head"])
def test_parts_of_another_evaluation_are_not_taken_over(tmp_path: Path, tables: Tables, other: str) -> None:
    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        measured(
            tmp_path,
            segmenter=small_segmenter("bernoulli" if other == "head" else "beta", seed=other == "weights"),
            rows=ROWS[::-1].copy() if other == "rows" else ROWS,
            pack=pack_of(seed=other == "data"),
            report=kill,
        )
    assert_same(measured(tmp_path), tables)


def test_batch_size_does_not_change_what_is_not_random(tmp_path: Path, tables: Tables) -> None:
    for size in (1, 2, 16):
        config = CONFIG.model_copy(update={"batch_size": size, "attacks": CONFIG.attacks[:1]})
        found = measured(tmp_path / str(size), config=config)
        expected = {name: table.filter(pl.col("condition").is_in(["clean", "fgsm"])) for name, table in tables.items()}
        assert_frame_equal(found["records"], expected["records"], rel_tol=1e-5, abs_tol=1e-5)
        for table, keys in (
            ("histograms", ["condition", "measure", "patient", "bin"]),
            ("calibration", ["condition", "region", "patient", "bin"]),
        ):
            both = found[table].join(expected[table], on=keys, how="full", coalesce=True).fill_null(0)
            counts, others = both["count"].to_numpy(), both["count_right"].to_numpy()
            assert np.abs(counts - others).sum() <= 0.002 * counts.sum()  # rounding moves pixels over the edges of bins


def test_the_global_random_state_and_the_weights_are_left_alone(tmp_path: Path) -> None:
    segmenter = small_segmenter()
    weights = segmenter.weights()
    before = torch.random.get_rng_state()
    measured(tmp_path, segmenter=segmenter)
    assert torch.equal(before, torch.random.get_rng_state())
    assert segmenter.weights() == weights
    assert all(parameter.grad is None and parameter.requires_grad for parameter in segmenter.parameters())


# --- edges and bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 5, 6, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_image_is_enough(tmp_path: Path, row: int, channels: int) -> None:
    pack = pack_of(channels=3 if channels == 3 else 1)
    found = measured(
        tmp_path, pack=pack, segmenter=small_segmenter(channels=channels), rows=np.array([row], dtype=np.int64)
    )
    assert len(found["records"]) == len(CONDITIONS)


def test_no_image_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one row was expected"):
        measured(tmp_path, rows=np.array([], dtype=np.int64))


def test_a_model_that_gives_none_of_the_measures_gets_a_sentence(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"measures": ("vacuity",)})
    with pytest.raises(BeliefError, match=r"none of vacuity.*add one of entropy, variance to evaluation\.measures"):
        measured(tmp_path, segmenter=small_segmenter("bernoulli"), config=config)


def test_an_attack_that_cheats_leaves_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cheat(model: object, images: Tensor, masks: Tensor, *, eps: float, **options: object) -> Tensor:
        return (images + 2 * eps).clamp(0, 1)

    attacks: dict[str, object] = {**ATTACKS, "fgsm": cheat}
    monkeypatch.setattr("trustseg.evaluation.conditions.ATTACKS", attacks)
    with pytest.raises(AttackError, match="the attack 'fgsm' left its budget"):
        measured(tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


# --- which rows ------------------------------------------------------------------------------------------------------


def test_rows_of_every_split() -> None:
    pack = pack_of()
    data = DataConfig()
    assert rows_of_split(pack, "test", data).tolist() == [4, 5, 6]
    assert rows_of_split(pack, "control", data).tolist() == [7]
    assert rows_of_split(pack, "all", data).tolist() == [0, 1, 2, 3, 4, 5, 6]
    train, validation = (rows_of_split(pack, split, data).tolist() for split in ("train", "validation"))
    assert sorted(train + validation) == [0, 1, 2, 3]
    assert all(rows_of_split(pack, split, data).dtype == np.int64 for split in ("test", "control", "all"))


def test_folds_test_every_image_once() -> None:
    pack = pack_of()
    parts = [rows_of_split(pack, "test", DataConfig(fold=fold, folds=3)).tolist() for fold in range(3)]
    assert sorted(row for part in parts for row in part) == [0, 1, 2, 3, 4, 5, 6]


def test_images_without_a_mask_are_never_measured_as_healthy() -> None:
    pack = pack_of()
    index = pack.index.with_columns(has_mask=pl.col("name") != "image1")
    without = Pack(pack.images, pack.masks, index, pack.size, pack.channels, pack.layout, pack.digest)
    assert 1 not in rows_of_split(without, "all", DataConfig())


def test_an_unknown_or_empty_split_gets_a_sentence() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'validation'"):
        rows_of_split(pack_of(), "validate", DataConfig())
    with pytest.raises(DataError, match="'control' of this dataset is empty"):
        rows_of_split(pack_of(7), "control", DataConfig())
