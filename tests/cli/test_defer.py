"""``trustseg defer fit | compare | apply``: promises in words, tables, and every bad input."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.cli.conftest import Command, done, one_sentence, refusal
from tests.deferral.records import records_of

from trustseg.deferral import load_policy


def write(folder: str, *tables: pl.DataFrame) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    table = pl.concat(tables).rename({"u_entropy_mean": "u_entropy_soft_dice_confidence"}, strict=False)
    table.write_parquet(Path(folder) / "records.parquet")


def rising(count: int, *, start: int = 0) -> tuple[Sequence[float], Sequence[str]]:
    return [0.01 * (number + 1) for number in range(count)], [f"p{number + start}" for number in range(count)]


def test_fit_and_apply(command: Command) -> None:
    scores, patients = rising(49)
    write("run/evaluation-validation", records_of(scores, patients=patients))
    found = command("defer", "fit", "run", "--output", "policy.json", "--target", "review_rate", "--at-most", "0.2")
    done(found)
    assert "at most 0.2 are expected to be reviewed" in found.out
    assert "void under attack or shift" in found.out
    assert load_policy(Path("policy.json")).threshold == pytest.approx(0.40)
    assert "review where entropy (soft_dice_confidence) > 0.4; policy: policy.json" in found.out.splitlines()

    scores, patients = rising(50, start=100)
    attacked = records_of([0.1] * 50, [0.0] * 50, patients=patients, condition="pgd", eps=4 / 255)
    write("run/evaluation-test", records_of(scores, patients=patients), attacked)
    found = command("defer", "apply", "policy.json", "run", "--draws", "50")
    done(found)
    clean, pgd = (line.split() for line in found.out.splitlines() if line.strip().startswith(("clean", "pgd")))
    assert (clean[3], clean[-1]) == ("0.800", "applies")
    assert (pgd[1], pgd[3], pgd[-1]) == ("4", "1.000", "void")
    assert "guarantee void for: pgd" in found.out
    decisions = pl.read_csv("run/evaluation-test/decisions.csv")
    assert decisions.group_by("condition", maintain_order=True).agg(pl.col("review").sum()).rows() == [
        ("clean", 10),
        ("pgd", 0),
    ]
    table = pl.read_csv("run/evaluation-test/deferral.csv")
    assert table.filter((pl.col("condition") == "pgd") & (pl.col("score") == "undetected_failures"))["value"][0] == 1.0


def test_patients_that_differ_void_the_guarantee(command: Command) -> None:
    scores, patients = rising(49)
    write("run/evaluation-validation", records_of(scores, patients=patients))
    done(command("defer", "fit", "run"))
    scores, patients = rising(60, start=100)
    write("alike", records_of(list(reversed(scores)), patients=patients))
    found = command("defer", "apply", "policy.json", "alike", "--draws", "5")
    assert "No difference found between the scores of 60 new and 49 calibration patients" in found.out
    assert set(pl.read_csv("alike/deferral.csv")["guarantee"]) != {"void"}
    write("other", records_of([0.2 + score for score in scores], patients=patients))
    found = command("defer", "apply", "policy.json", "other", "--draws", "5")
    done(found)
    assert "The scores of 60 new patients differ" in found.out
    assert "guarantee void for: clean" in found.out
    assert "are calibration or training patients" not in found.out
    for table in ("deferral", "decisions"):
        assert set(pl.read_csv(f"other/{table}.csv")["guarantee"]) == {"void"}


def test_a_policy_for_each_value_of_a_column(command: Command) -> None:
    scores, patients = rising(40)
    sites = pl.Series("group_site", ["north", "a/b"] * 19 + [None, ""])
    write("run/evaluation-validation", records_of(scores, patients=patients).with_columns(sites))
    found = command("defer", "fit", "run", "--by", "site", "--at-most", "0.3", "-o", "p.json")
    assert "2 images have no site" in found.err
    assert sorted(path.name for path in Path().glob("p-*.json")) == ["p-a%2Fb.json", "p-north.json"]
    assert load_policy(Path("p-a%2Fb.json")).group == "site=a/b"
    write("new", records_of(scores, patients=[f"new{name}" for name in patients]).with_columns(sites))
    found = command("defer", "apply", "p-north.json", "new", "--draws", "5")
    assert "Only for images with site=north" in found.out
    assert pl.read_csv("new/decisions.csv").height == 19
    assert "no column 'age'" in one_sentence(command("defer", "fit", "run", "--by", "age"))


def test_apply_to_the_calibration_patients_holds_nothing(command: Command) -> None:
    scores, patients = rising(20)
    write("given", records_of(scores, patients=patients))
    done(command("defer", "fit", "given"))
    found = command("defer", "apply", "policy.json", "given", "--draws", "20", "--output", "tables")
    done(found)
    assert "guarantee void for: clean" in found.out
    assert "20 of 20 clean patients are calibration or training patients" in found.out
    assert sorted(path.name for path in Path("tables").iterdir()) == ["decisions.csv", "deferral.csv"]


def test_one_calibration_patient_voids_the_rates_but_not_the_others(command: Command) -> None:
    scores, patients = rising(20)
    write("given", records_of(scores, patients=patients))
    done(command("defer", "fit", "given"))
    write("mixed", records_of([0.1, 0.2, 0.3], patients=["new", "p3", "other"]))
    found = command("defer", "apply", "policy.json", "mixed", "--draws", "20")
    done(found)
    assert "1 of 3 clean patients are calibration or training patients" in found.out
    assert set(pl.read_csv("mixed/deferral.csv")["guarantee"]) == {"void"}
    promises = pl.read_csv("mixed/decisions.csv")["guarantee"].to_list()
    assert [promise == "void" for promise in promises] == [False, True, False]


def test_scores_of_another_model_are_refused(command: Command) -> None:
    scores, patients = rising(20)
    for folder, start, model in (("fitted", 0, "0123"), ("same", 100, "0123"), ("other", 100, "4567")):
        write(folder, records_of(scores, patients=[f"{name}-{start}" for name in patients]))
        Path(folder, "evaluation.json").write_text(f'{{"model": "{model}"}}')
    done(command("defer", "fit", "fitted"))
    assert load_policy(Path("policy.json")).model == "0123"
    done(command("defer", "apply", "policy.json", "same", "--draws", "5"))
    assert "was fitted for model 0123, not for model 4567" in refusal(
        command("defer", "apply", "policy.json", "other", "--draws", "5")
    )
    assert not Path("other/deferral.csv").exists()
    Path("other/evaluation.json").write_text("{}")  # of an older version: unknown
    done(command("defer", "apply", "policy.json", "other", "--draws", "5"))


def test_the_validation_records_of_an_evaluation_are_enough(command: Command) -> None:
    scores, patients = rising(20)
    for home in ("run/evaluation-test", "cell"):
        write(home, records_of(scores, patients=patients).with_columns(split=pl.lit("test")))
        Path(home, "records.parquet").rename(Path(home, "validation.parquet"))
        write(home, records_of([0.9], patients=["tested"]).with_columns(split=pl.lit("test")))
    for given in ("run", "run/evaluation-test", "cell"):
        done(command("defer", "fit", given, "--at-most", "0.5"))
        assert load_policy(Path("policy.json")).threshold == pytest.approx(0.11)
    Path("cell/model").mkdir()
    Path("cell/model/calibration.json").write_text("{}")  # the records are of the model before its calibration
    assert "for its calibrated model" in refusal(command("defer", "fit", "cell"))


def test_compare_ranks_the_scores(command: Command) -> None:
    dice, patients = np.linspace(0.1, 0.9, 9), [f"p{number}" for number in range(9)]
    table = records_of(list(1 - dice), list(dice), patients=patients)
    table = table.with_columns(u_entropy_max=pl.col("u_entropy_mean") * -1 + 2)
    write("given", table)
    found = command("defer", "compare", "given", "--draws", "20")
    done(found)
    best, worst = (line.split() for line in found.out.splitlines() if line.startswith("entropy"))
    assert (best[0], best[1]) == ("entropy_soft_dice_confidence", "0.000")
    assert (worst[0], worst[4]) == ("entropy_max", "0.000")
    assert "4 of them failed" in found.out
    write("empty", records_of([0.1, 0.2]).with_columns(mask_px=0))
    assert "no clean images with foreground" in refusal(command("defer", "compare", "empty"))


def test_of_a_calibrated_model_its_own_records_are_taken(command: Command) -> None:
    Path("run/model").mkdir(parents=True)
    Path("run/model/calibration.json").write_text("{}")
    write("run/evaluation-validation", records_of([0.1] * 20))
    assert "for its calibrated model in 'run'; run 'trustseg evaluate run'" in refusal(command("defer", "fit", "run"))
    done(command("defer", "fit", "run/evaluation-validation"))
    scores, patients = rising(20)
    write("run/evaluation-validation-calibrated", records_of(scores, patients=patients))
    done(command("defer", "fit", "run", "--at-most", "0.5"))
    assert load_policy(Path("policy.json")).threshold == pytest.approx(0.11)
    write("run/evaluation-test", records_of(scores[:2], patients=["new", "newer"]))
    done(command("defer", "apply", "policy.json", "run", "--draws", "5"))
    assert Path("run/evaluation-test/decisions.csv").exists()
    write("run/evaluation-test-calibrated", records_of(scores[:2], patients=["new", "newer"]))
    done(command("defer", "apply", "policy.json", "run", "--draws", "5"))
    assert Path("run/evaluation-test-calibrated/decisions.csv").exists()


def test_defined_outcomes_of_hard_cases(command: Command) -> None:
    write("three", records_of([0.1, 0.2, 0.3]))
    found = command("defer", "fit", "three")
    assert (found.code, found.out.splitlines()[0][:19]) == (0, "Nothing is reviewed")
    assert found.out.splitlines()[1].startswith("NO GUARANTEE")
    assert "guarantee holds" not in found.out
    assert found.out.splitlines()[-1] == "policy: policy.json"
    found = command("defer", "fit", "three", "--target", "risk")
    done(found)
    assert "at least 14 are needed" in found.out
    found = command("defer", "apply", "policy.json", "three", "--draws", "5")
    done(found)
    assert "undefined" in found.out  # the risk of the kept, of whom there are none
    write("equal", records_of([0.3] * 30, [0.1] * 30))
    found = command("defer", "fit", "equal", "--target", "risk")
    done(found)
    assert found.out.startswith("Everything is reviewed")
    assert "All scores are equal" in found.out


def test_bad_input_is_one_sentence_and_exit_code_2(command: Command) -> None:
    write("good", records_of([0.1, 0.2]))
    Path("run/model").mkdir(parents=True)
    write("run", records_of([0.1, 0.2]))
    for split in ("test", "train"):
        write({"test": "tested", "train": "trained"}[split], records_of([0.1, 0.2]).with_columns(split=pl.lit(split)))
    Path("text").mkdir()
    Path("text/records.parquet").write_text("no table")
    for arguments, words in (
        (["fit", "nowhere"], "no records of validation images in 'nowhere'"),
        (["fit", "run"], "run 'trustseg evaluate run'"),
        (["fit", "tested"], "'tested/records.parquet' holds records of the test split"),
        (["fit", "trained"], "'trained/records.parquet' holds records of the train split"),
        (["fit", "text"], "text/records.parquet"),
        (["fit", "good/records.parquet"], "'good/records.parquet' is a file; give the folder"),
        (
            ["fit", "good", "--measure", "vacuity"],
            "no score vacuity_soft_dice_confidence; choose one of entropy_soft_dice_confidence",
        ),
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
    assert "trustseg evaluate MODEL'" in refusal(command("defer", "apply", "policy.json", "nowhere"))
