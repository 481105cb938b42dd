"""What may be asked of an evaluation beyond the names of attacks."""

from pathlib import Path

import pytest
from tests.config.given import refusal

from trustseg.config import (
    AttackConfig,
    EvaluationConfig,
    load_run,
)
from trustseg.errors import ConfigError


def test_the_smallest_budgets_are_not_searched_unless_a_dice_is_named() -> None:
    assert load_run(None, []).evaluation.minimal.tau is None
    minimal = load_run(None, ["evaluation.minimal.tau=0.5", "evaluation.minimal.eps=[1/255, 2/255]"]).evaluation.minimal
    assert minimal.tau == 0.5
    assert minimal.eps == pytest.approx((1 / 255, 2 / 255))
    assert minimal.eps[0] < minimal.eps[1]


def test_the_former_name_of_the_masking_checks_is_read(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("evaluation: {suspicions: 16}\n")
    assert load_run(file).evaluation.masking_checks == 16
    assert load_run(file, ["evaluation.masking_checks=2"]).evaluation.masking_checks == 2
    assert load_run(None, ["evaluation.suspicions=3"]).evaluation.masking_checks == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tau=1", "tau=1: expected number >= 0, < 1 or null"),
        ("tau=-0.1", "expected number >= 0, < 1 or null"),
        ("eps=[2/255, 1/255]", "eps must be increasing"),
        ("eps=[0, 1/255]", "above 0"),
        ("eps=[0.5, 1.5]", "at most 1"),
        ("eps=[]", "list of numbers >= 0"),
        ("steps=0", "expected integer >= 1"),
        ("halvings=-1", "expected integer >= 0"),
    ],
)
def test_what_is_no_ladder_is_refused(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_run(None, [f"evaluation.minimal.{setting}"])


def test_a_surrogate_is_a_path_or_nothing() -> None:
    assert load_run(None, []).evaluation.surrogate is None
    assert load_run(None, ["evaluation.surrogate=runs/plain/model"]).evaluation.surrogate == "runs/plain/model"


@pytest.mark.parametrize("measures", ["[]", "[vacuity]", "[mutual_information, dissonance]"])
def test_one_measure_must_be_given_by_every_head(measures: str) -> None:
    assert "add entropy or variance" in refusal(f"evaluation.measures={measures}")


def test_measures_that_rank_alike_are_refused() -> None:
    assert "rank pixels identically" in refusal("evaluation.measures=[entropy, vacuity, variance]")


def test_a_budget_above_the_range_of_a_pixel_is_refused_unless_it_is_of_the_whole_image() -> None:
    assert "above 1" in refusal("evaluation.attacks=[{name: pgd, eps: [4]}]")
    assert AttackConfig(name="pgd", eps=(4.0,), norm="l2").eps == (4.0,)


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        (AttackConfig(name="fgsm", eps=(0.1,)), "fgsm"),
        (AttackConfig(name="pgd", eps=(0.1,)), "pgd"),
        (AttackConfig(name="pgd", eps=(0.1,), steps=3), "pgd3"),
        (AttackConfig(name="pgd", eps=(0.1,), norm="l2", restarts=2), "pgd_l2_x2"),
        (AttackConfig(name="r_fgsm", eps=(0.1,), objective="margin"), "r_fgsm_margin"),
    ],
)
def test_label_tells_attacks_apart(attack: AttackConfig, label: str) -> None:
    assert attack.label == label


def test_the_same_condition_twice_is_refused() -> None:
    fgsm, other = AttackConfig(name="fgsm", eps=(0.1, 0.2)), AttackConfig(name="fgsm", eps=(0.2,))
    with pytest.raises(ValueError, match=r"'fgsm at eps=0\.200000' twice"):
        EvaluationConfig(attacks=(fgsm, other))
    with pytest.raises(ValueError, match="twice"):  # told apart by no file name and no reader
        EvaluationConfig(attacks=(AttackConfig(name="fgsm", eps=(0.1, 0.1 + 1e-8)),))
    EvaluationConfig(attacks=(fgsm, AttackConfig(name="fgsm", eps=(0.2,), objective="margin")))
    EvaluationConfig(attacks=(AttackConfig(name="fgsm", eps=(0.0, 0.0)),))  # no condition at all


@pytest.mark.parametrize("key", ["measures", "aggregations"])
def test_a_column_twice_is_refused(key: str) -> None:
    name = "entropy" if key == "measures" else "mean"
    assert f"{key} holds '{name}' twice" in refusal(f"evaluation.{key}=[{name}, {name}]")
