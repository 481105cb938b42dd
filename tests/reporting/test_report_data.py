"""Which attack, budget and measure a report speaks about; tables hold its numbers; costs by hand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.reporting.fake_results import counted, keep_rows
from tests.reporting.given import CLEAN, EVIDENTIAL, collected, one_run

from trustseg.attacks import evaluation_attacks
from trustseg.reporting import score_tables
from trustseg.reporting.contents import Contents
from trustseg.reporting.differences import pairs
from trustseg.reporting.hypotheses import answer_hypotheses
from trustseg.reporting.labels import describe_attack
from trustseg.reporting.overview import basis, summary
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.reporting.score_tables import calibration_regions, costs


def test_attacks_are_called_by_their_labels() -> None:
    for name, attack in evaluation_attacks().items():
        assert describe_attack(name) == attack.label


def test_headline_of_a_study(data: ReportData) -> None:
    assert data.attack == "pgd"
    assert [round(eps * 255) for eps in data.attacks["fgsm"]] == [1, 2, 4, 8]
    assert [(name, round(eps * 255)) for name, eps in data.conditions] == [("clean", 0), ("pgd", 4), ("pgd", 8)]
    assert set(data.measures.values()) == {"entropy"}, "heads are compared by a measure that both have"
    assert data.columns[EVIDENTIAL] == "u_entropy_quantile_mean"
    assert next(iter(data.all_columns[EVIDENTIAL])) == "mutual_information"


def test_the_study_says_which_aggregation_and_budget(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study", heads=("bernoulli", "beta"))
    for settings in folder.glob("cells/*/config.yaml"):
        settings.unlink()
    adversarial = {"eps": 7 / 255, "measure": {"beta": "vacuity", "bernoulli": "variance"}, "aggregation": "mean"}
    (folder / "study.yaml").write_text(yaml.safe_dump({"adversarial": adversarial}))
    data = collect(load_results(folder))
    assert set(data.columns.values()) == {"u_entropy_mean"}
    assert data.all_columns[EVIDENTIAL]["vacuity"] == "u_vacuity_mean"
    assert data.eps == data.attacks[data.attack][-1] == round(8 / 255, 7)
    assert len(data.conditions) == 2


def test_without_attacks_only_clean_remains(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study")
    for cell in folder.glob("cells/*"):
        keep_rows(cell, pl.col("condition") == "clean")
    data = collect(load_results(folder))
    assert data.conditions == data.clean_and_attacked == [("clean", 0.0)]


def test_pairs_stay_within_a_head_and_ignore_fold_and_seed(study: Path) -> None:
    assert list(pairs(load_results(study))) == [
        (f"{head}, {first}", f"{head}, {second}")
        for head in ("classical", "evidential")
        for first, second in (
            ("random selection", "no adversarial training"),
            ("uncertain selection", "no adversarial training"),
            ("uncertain selection", "random selection"),
        )
    ]


@pytest.mark.parametrize(("other", "count"), [({"model.encoder": "resnet34"}, 0), ({"training.seed": 5}, 1)])
def test_variants_that_differ_otherwise_are_not_compared(tmp_path: Path, other: dict[str, object], count: int) -> None:
    folder = one_run(tmp_path / "study", selections=("none", "random"))
    path = folder / "cells" / "beta-random-fold0-seed0" / "cell.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"values": content["values"] | other}))
    assert len(pairs(load_results(folder))) == count


def test_a_study_names_its_own_baselines(study: Path, tmp_path: Path) -> None:
    results = load_results(study)
    named = {"report": {"baselines": [{"adversarial.selection": "none"}, {"adversarial.selection": "uncertain"}]}}
    found = pairs(replace(results, study=named))
    assert {rank for pair, rank in found.items() if "no adversarial training" in pair[1]} == {0}
    assert found["evidential, random selection", "evidential, uncertain selection"] == 1
    assert ("evidential, uncertain selection", "evidential, random selection") not in found
    assert pairs(replace(results, study={"report": {"baselines": [{"model.head": "linear"}]}})) == {}


def test_every_table_has_all_keys_in_every_row(stress: Contents) -> None:
    for table in stress.tables.values():
        assert all({column.key for column in table.columns} <= set(row) for row in table.rows)
        assert len(table.frame()) == len(table.rows)


def test_repetitions_count_what_is_there(data: ReportData) -> None:
    frame = score_tables.repetitions(data).frame()
    row = frame.row(by_predicate=pl.col("variant") == EVIDENTIAL, named=True)
    assert (row["folds"], row["seeds"], row["images"], row["patients"], row["epochs"]) == (2, 2, 32, 20, 12)
    assert row["seconds_training"] == pytest.approx(4 * 61.5)
    assert (row["models"], row["empty"]) == (4, 2)
    assert row["lowest_dice"] <= row["highest_dice"]


def test_images_behind_dice_are_the_same_under_every_condition(data: ReportData) -> None:
    frame = score_tables.robustness(data).frame().filter(pl.col("variant") == EVIDENTIAL)
    assert frame["images"].to_list() == [30] * 9
    whole, rest = summary(data).frame(), score_tables.repetitions(data).frame()
    assert whole["images"].to_list() == (rest["images"] - rest["empty"]).to_list()


def test_false_positives_are_told_by_their_area(data: ReportData) -> None:
    """The synthetic study predicts nothing on empty masks when clean, 40 times the pressure of 1/2 under PGD 4/255."""
    frame = score_tables.false_positives(data).frame().filter(pl.col("variant") == EVIDENTIAL)
    assert frame.select("images", "clean", "attacked").row(0) == (2, 0.0, pytest.approx(20 / 64**2))


def test_every_measure_is_told_and_the_one_judged_by_agrees(data: ReportData) -> None:
    beta, judged = (
        table.frame().filter(pl.col("variant") == EVIDENTIAL)
        for table in (score_tables.measures(data), score_tables.ranking(data))
    )
    assert beta["measure"].to_list() == ["mutual information", "vacuity", "entropy"]
    assert beta.row(2)[2:5] == judged.select("nause", "nause_low", "nause_high").row(0)
    assert beta["robust_nause"][2] == judged["nause"][1]


def test_one_patient_gives_no_interval(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study")
    for path in folder.glob("cells/*/records.parquet"):
        records = pl.read_parquet(path)
        first = pl.col("image") == records["image"][0]
        mask = pl.when(first).then(0).otherwise(pl.max_horizontal("mask_px", 1))
        hit = pl.when(first).then(0).otherwise("intersection_px")
        counted(records.with_columns(mask_px=mask, intersection_px=hit)).write_parquet(path)
    ((_, images, clean, attacked),) = score_tables.false_positives(collected(folder)).cells()
    assert images == ("1", "")
    assert clean[1] == attacked[1] == "— (n = 1)"
    assert 0 <= float(clean[0]) <= 1


def test_calibration_by_region_reads_its_own_pixels(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study", images=6)
    path = next(folder.glob("cells/*/calibration.parquet"))
    whole = pl.read_parquet(path)
    assert calibration_regions(collected(folder)).rows == ()
    certain = whole.with_columns(sum_probability=pl.lit(0.0), sum_reference=pl.col("count") * 1.0)
    none = whole.with_columns(pl.lit(0).alias(name).cast(whole.schema[name]) for name in whole.columns[2:5])
    regions = {"whole": whole, "boundary": certain, "foreground": none}
    pl.concat(frame.with_columns(region=pl.lit(name)) for name, frame in regions.items()).write_parquet(path)
    data = collected(folder)
    row = calibration_regions(data).frame().row(0, named=True)
    assert row["whole"] == data.score(EVIDENTIAL, CLEAN, "ece").value
    assert row["boundary"] == 1.0
    assert row["foreground"] != row["foreground"]  # no pixel: undefined


TIMED = {"timed_batch_size": 16, "timed_on": "cpu", "timed_threads": 1}
ENSEMBLE = f"{EVIDENTIAL}, ensemble of 2"
MEMBERS = ["beta-none-fold0-seed0", "beta-none-fold0-seed1"]


def _timed(cell: Path, passes: int, seconds: float, **changed: object) -> None:
    told = {"passes": passes, "seconds_per_image": seconds, **TIMED, **changed}
    (cell / "evaluation.json").write_text(json.dumps(told))


@pytest.fixture
def combined(tmp_path: Path) -> Path:
    """Two variants of two seeds, and an ensemble of the first."""
    folder = one_run(tmp_path / "study", selections=("none", "random"), seeds=2, images=12, patients=8)
    for number, cell in enumerate(sorted((folder / "cells").iterdir())):
        _timed(cell, 1, 0.004 + 0.001 * number)
    mixture = folder / "cells" / "mixture"
    shutil.copytree(folder / "cells" / MEMBERS[0], mixture)
    about = json.loads((mixture / "cell.json").read_text()) | {"id": "mixture", "variant": ENSEMBLE}
    about |= {"mixture": {"members": MEMBERS, "samples": 0, "dropout": 0.2}}
    (mixture / "cell.json").write_text(json.dumps(about))
    records = pl.read_parquet(mixture / "records.parquet").with_columns(cell=pl.lit("mixture"))
    records.write_parquet(mixture / "records.parquet")
    _timed(mixture, 2, 0.009)
    return folder


def test_costs_by_hand(combined: Path) -> None:
    data = collected(combined)
    table = costs(data)
    frame = table.frame()
    assert frame["variant"].to_list() == [EVIDENTIAL, "evidential, random selection", ENSEMBLE]
    assert frame["passes"].to_list() == frame["models"].to_list() == [1, 1, 2]
    assert frame["seconds_training"].to_list() == [61.5, 61.5, 2 * 61.5]
    assert frame["milliseconds"].to_list() == pytest.approx([4.5, 6.5, 9.0])  # medians of two seeds
    assert table.title.endswith("a prediction's is that of 3 batches on cpu, 1 threads, batches of 16.")
    shown = [metric + end for metric in ("dice", "nause", "aurc", "ece") for end in ("", "_low", "_high")]
    assert frame.select(shown).equals(summary(data).frame().select(shown))


def test_times_of_two_machines_are_not_compared_and_what_told_no_cost_is_left_out(combined: Path) -> None:
    _timed(combined / "cells" / "beta-random-fold0-seed0", 1, 0.001, timed_on="an example GPU")
    title = costs(collected(combined)).title
    assert "on an example GPU, 1 threads, batches of 16 or cpu, 1 threads, batches of 16; times taken diff" in title
    for cell in (combined / "cells").glob("beta-*"):
        (cell / "evaluation.json").write_text(json.dumps({"fingerprint": "0"}))
    assert costs(collected(combined)).frame()["variant"].to_list() == [ENSEMBLE]
    (combined / "cells" / "mixture" / "evaluation.json").unlink()
    assert costs(collected(combined)).rows == ()


def test_a_mixture_is_a_variant_but_no_training(combined: Path) -> None:
    results = load_results(combined)
    assert [results.is_mixture(variant) for variant in (EVIDENTIAL, ENSEMBLE)] == [False, True]
    assert results.trainings_of(ENSEMBLE) == results.trainings_of(EVIDENTIAL) == set(MEMBERS)
    assert [*pairs(results)] == [("evidential, random selection", EVIDENTIAL)]
    data = collected(combined)
    assert "trained models behind each variant: 2." in basis(data)
    compared = [outcome.compared for outcome in answer_hypotheses(data)]
    assert compared
    assert not any("ensemble" in text for text in compared)
