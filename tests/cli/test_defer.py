"""``trustseg defer fit | compare | apply``: promises in words, tables, and every bad input."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.cli.conftest import Command, done, one_sentence, refusal
from tests.deferral.records import records_of

from trustseg.deferral import NONE, load_policy
from trustseg.evaluation.applied_policy import guarantee_of

APPLY = ("defer", "apply", "policy.json")
FEW = ("--draws", "5")


def write(folder: str, *tables: pl.DataFrame) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    table = pl.concat(tables).rename({"u_entropy_mean": "u_entropy_soft_dice_confidence"}, strict=False)
    table.write_parquet(Path(folder) / "records.parquet")


def rising(count: int, *, start: int = 0, step: float = 0.01, shift: float = 0.0) -> pl.DataFrame:
    """Return records with scores 0.01, 0.02, ... of patients of their own."""
    scores = [shift + step * (number + 1) for number in range(count)]
    return records_of(scores, patients=[f"p{number + start}" for number in range(count)])


def guarantees(folder: str, table: str = "deferral") -> set[str]:
    return set(pl.read_csv(f"{folder}/{table}.csv")["guarantee"])


def test_fit_and_apply(command: Command) -> None:
    write("run/evaluation-validation", rising(49))
    found = done(command("defer", "fit", "run", "--target", "review_rate", "--at-most", "0.2"))
    assert "At most 20 % of a new patient's images are expected to be reviewed" in found
    assert "void under attack or shift" in found
    assert load_policy(Path("policy.json")).threshold == pytest.approx(0.40)
    assert "review where entropy (soft_dice_confidence) > 0.4; policy: policy.json" in found.splitlines()

    tested = rising(50, start=100)
    attacked = records_of([0.1] * 50, [0.0] * 50, patients=tested["patient"].to_list(), condition="pgd", eps=4 / 255)
    write("run/evaluation-test", tested, attacked)
    found = done(command(*APPLY, "run", "--draws", "50"))
    clean, pgd = (line.split() for line in found.splitlines() if line.strip().startswith(("clean", "pgd")))
    assert (clean[3], clean[-1]) == ("0.800", "applies")
    assert (pgd[1], pgd[3], pgd[-1]) == ("4", "1.000", "void")
    assert "guarantee void for: pgd" in found
    decisions = pl.read_csv("run/evaluation-test/decisions.csv")
    reviewed = decisions.group_by("condition", maintain_order=True).agg(pl.col("review").sum())
    assert reviewed.rows() == [("clean", 10), ("pgd", 0)]
    table = pl.read_csv("run/evaluation-test/deferral.csv")
    assert table.filter((pl.col("condition") == "pgd") & (pl.col("score") == "undetected_failures"))["value"][0] == 1.0


def test_patients_that_differ_void_the_guarantee(command: Command) -> None:
    write("run/evaluation-validation", rising(49))
    done(command("defer", "fit", "run"))
    write("alike", rising(60, start=100, step=-0.01, shift=0.61))
    found = done(command(*APPLY, "alike", *FEW))
    assert "No difference found between the scores of 60 new and 49 calibration patients" in found
    assert guarantees("alike") != {"void"}
    write("other", rising(60, start=100, shift=0.2))
    found = done(command(*APPLY, "other", *FEW))
    assert "The scores of 60 new patients differ" in found
    assert "guarantee void for: clean" in found
    assert "are calibration or training patients" not in found
    assert guarantees("other") == guarantees("other", "decisions") == {"void"}


def test_a_policy_for_each_value_of_a_column(command: Command) -> None:
    sites = pl.Series("group_site", ["north", "a/b"] * 19 + [None, ""])
    write("run/evaluation-validation", rising(40).with_columns(sites))
    found = command("defer", "fit", "run", "--by", "site", "--at-most", "0.3", "-o", "p.json")
    assert "2 images have no site" in found.err
    assert sorted(path.name for path in Path().glob("p-*.json")) == ["p-a%2Fb.json", "p-north.json"]
    assert load_policy(Path("p-a%2Fb.json")).group == "site=a/b"
    write("new", rising(40, start=100).with_columns(sites))
    assert "Only for images with site=north" in done(command("defer", "apply", "p-north.json", "new", *FEW))
    assert pl.read_csv("new/decisions.csv").height == 19
    assert "no column 'age'" in one_sentence(command("defer", "fit", "run", "--by", "age"))


def test_calibration_patients_void_the_rates_but_not_the_decisions_on_others(command: Command) -> None:
    write("given", rising(20))
    done(command("defer", "fit", "given"))
    found = done(command(*APPLY, "given", *FEW, "--output", "tables"))
    assert "guarantee void for: clean" in found
    assert "20 of 20 clean patients are calibration or training patients" in found
    assert sorted(path.name for path in Path("tables").iterdir()) == ["decisions.csv", "deferral.csv"]
    write("mixed", records_of([0.1, 0.2, 0.3], patients=["new", "p3", "other"]))
    found = done(command(*APPLY, "mixed", *FEW))
    assert "1 of 3 clean patients are calibration or training patients" in found
    assert guarantees("mixed") == {"void"}
    promises = pl.read_csv("mixed/decisions.csv")["guarantee"].to_list()
    assert [promise == "void" for promise in promises] == [False, True, False]


def test_scores_of_another_model_are_refused(command: Command) -> None:
    for folder, start, model in (("fitted", 0, "0123"), ("same", 100, "0123"), ("other", 100, "4567")):
        write(folder, rising(20, start=start))
        Path(folder, "evaluation.json").write_text(f'{{"model": "{model}"}}')
    done(command("defer", "fit", "fitted"))
    assert load_policy(Path("policy.json")).model == "0123"
    done(command(*APPLY, "same", *FEW))
    assert "was fitted for model 0123, not for model 4567" in refusal(command(*APPLY, "other", *FEW))
    assert not Path("other/deferral.csv").exists()
    Path("other/evaluation.json").write_text("{}")  # of an older version: unknown
    done(command(*APPLY, "other", *FEW))


def test_the_validation_records_of_an_evaluation_are_enough(command: Command) -> None:
    for home in ("run/evaluation-test", "cell"):
        write(home, rising(20).with_columns(split=pl.lit("test")))
        Path(home, "records.parquet").rename(Path(home, "validation.parquet"))
        write(home, records_of([0.9], patients=["tested"]).with_columns(split=pl.lit("test")))
    for given in ("run", "run/evaluation-test", "cell"):
        done(command("defer", "fit", given, "--at-most", "0.5"))
        assert load_policy(Path("policy.json")).threshold == pytest.approx(0.11)
    Path("cell/model").mkdir()
    Path("cell/model/calibration.json").write_text("{}")  # the records are of the model before its calibration
    assert "of the calibrated model" in refusal(command("defer", "fit", "cell"))


def test_compare_ranks_the_scores(command: Command) -> None:
    dice, patients = np.linspace(0.1, 0.9, 9), [f"p{number}" for number in range(9)]
    table = records_of(list(1 - dice), list(dice), patients=patients)
    write("given", table.with_columns(u_entropy_max=pl.col("u_entropy_mean") * -1 + 2))
    found = done(command("defer", "compare", "given", "--draws", "20"))
    best, worst = (line.split() for line in found.splitlines() if line.startswith("entropy"))
    assert (best[0], best[1]) == ("entropy_soft_dice_confidence", "0.000")
    assert (worst[0], worst[4]) == ("entropy_max", "0.000")
    assert "4 of them failed" in found
    write("empty", records_of([0.1, 0.2]).with_columns(mask_px=0))
    assert "no clean images with foreground" in refusal(command("defer", "compare", "empty"))


def test_of_a_calibrated_model_its_own_records_are_taken(command: Command) -> None:
    Path("run/model").mkdir(parents=True)
    Path("run/model/calibration.json").write_text("{}")
    write("run/evaluation-validation", records_of([0.1] * 20))
    said = refusal(command("defer", "fit", "run"))
    assert "of the calibrated model in 'run'; run 'trustseg evaluate run'" in said
    done(command("defer", "fit", "run/evaluation-validation"))
    write("run/evaluation-validation-calibrated", rising(20))
    done(command("defer", "fit", "run", "--at-most", "0.5"))
    assert load_policy(Path("policy.json")).threshold == pytest.approx(0.11)
    for folder in ("run/evaluation-test", "run/evaluation-test-calibrated"):
        write(folder, rising(2, start=100))
        done(command(*APPLY, "run", *FEW))
        assert Path(folder, "decisions.csv").exists()


def test_defined_outcomes_of_hard_cases(command: Command) -> None:
    write("three", records_of([0.1, 0.2, 0.3]))
    first, second, *_, last = done(command("defer", "fit", "three")).splitlines()
    assert (first[:19], second[:12], last) == ("Nothing is reviewed", "NO GUARANTEE", "policy: policy.json")
    write("new", rising(20, start=100))
    found = done(command(*APPLY, "new", *FEW))
    assert "NO GUARANTEE" in found
    assert not any(words in found for words in ("applies", "void", "not tested", "next:"))
    assert guarantees("new") == guarantees("new", "decisions") == {NONE}
    assert guarantee_of(load_policy(Path("policy.json")), [0.1] * 20, pytest.fail) == NONE
    assert "at least 14 are needed" in done(command("defer", "fit", "three", "--target", "risk"))
    assert "undefined" in done(command(*APPLY, "three", *FEW))  # the risk of the kept, of whom there are none
    write("equal", records_of([0.3] * 30, [0.1] * 30))
    found = done(command("defer", "fit", "equal", "--target", "risk"))
    assert found.startswith("Everything is reviewed")
    assert "All scores are equal" in found


def test_bad_input_is_one_sentence_and_exit_code_2(command: Command) -> None:
    write("good", records_of([0.1, 0.2]))
    Path("run/model").mkdir(parents=True)
    write("run", records_of([0.1, 0.2]))
    for folder, split in (("tested", "test"), ("trained", "train")):
        write(folder, records_of([0.1, 0.2]).with_columns(split=pl.lit(split)))
    Path("text").mkdir()
    Path("text/records.parquet").write_text("no table")
    for arguments, words in (
        (["fit", "nowhere"], "no records of validation images in 'nowhere'"),
        (["fit", "run"], "run 'trustseg evaluate run'"),
        (["fit", "tested"], "'tested/records.parquet' holds records of the test split"),
        (["fit", "trained"], "'trained/records.parquet' holds records of the train split"),
        (["fit", "text"], "text/records.parquet"),
        (["fit", "good/records.parquet"], "'good/records.parquet' is a file; give the folder"),
        (["fit", "good", "--measure", "vacuity"], "no score vacuity_soft_dice_confidence; choose one of entropy_soft"),
        (["fit", "good", "--measure", "vacuum"], "did you mean 'vacuity'?"),
        (["fit", "good", "--aggregation", "morans_i"], "got morans_i"),
        (["fit", "good", "--measure", "variance", "--aggregation", "count_above"], "every image would score 0"),
        (["fit", "good", "--at-most", "20"], "at_most is 20.0, expected a share"),
        (["apply", "nowhere.json", "good"], "no JSON file 'nowhere.json'"),
        (["apply", "text/records.parquet", "good"], "cannot be read as JSON"),
    ):
        assert words in refusal(command("defer", *arguments))
        assert not Path("policy.json").exists()
    done(command("defer", "fit", "good"))
    assert "trustseg evaluate MODEL'" in refusal(command(*APPLY, "nowhere"))
