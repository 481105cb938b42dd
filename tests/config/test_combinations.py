"""Parts of a configuration that do not go together."""

import pytest
from tests.config.given import refusal

from trustseg.config import (
    AttackConfig,
    DataConfig,
    EvaluationConfig,
    load_run,
)
from trustseg.losses import DATA_TERMS


@pytest.mark.parametrize("term", [*sorted(set(DATA_TERMS) - {"binary_cross_entropy"}), "soft_dice", "kl_to_uniform"])
def test_a_bernoulli_head_takes_no_evidential_loss(term: str) -> None:
    assert "known: binary_cross_entropy" in refusal(f"loss.bernoulli={term}")


@pytest.mark.parametrize("term", ["soft_dice", "kl_to_uniform"])
def test_a_penalty_is_no_data_term(term: str) -> None:
    assert f"unknown value of loss.beta '{term}'" in refusal(f"loss.beta={term}")


def test_kl_to_uniform_needs_prior_one() -> None:
    assert "set loss.kl_weight=0 or model.prior=1" in refusal("model.prior=0.5")
    assert load_run(None, ["model.prior=0.5", "loss.kl_weight=0"]).model.prior == 0.5
    assert load_run(None, ["model.prior=0.5", "model.head=bernoulli"]).model.prior == 0.5  # neither is used


def test_a_bernoulli_head_takes_no_evidential_objective() -> None:
    for objective in ("digamma", "evidence_margin"):
        attack = f"evaluation.attacks=[{{name: pgd, eps: [0.1], objective: {objective}}}]"
        for override in (attack, f"adversarial.objective={objective}"):
            assert load_run(None, [override]).model.head == "beta"
            assert "needs a beta head, model.head is bernoulli" in refusal(override, "model.head=bernoulli")


@pytest.mark.parametrize("measures", ["[]", "[vacuity]", "[mutual_information, dissonance]"])
def test_one_measure_must_be_given_by_every_head(measures: str) -> None:
    assert "add entropy or variance" in refusal(f"evaluation.measures={measures}")


def test_measures_that_rank_alike_are_refused() -> None:
    assert "in the same order" in refusal("evaluation.measures=[entropy, vacuity, variance]")


@pytest.mark.parametrize(
    "settings",
    [
        ["adversarial.aggregation=count_above"],  # the default measure of a beta head is the epistemic variance
        ["adversarial.aggregation=count_above", "adversarial.measure.beta=mutual_information"],
        ["adversarial.aggregation=count_above", "adversarial.measure.bernoulli=variance", "model.head=bernoulli"],
        ["evaluation.aggregations=[mean, count_above]"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[variance]"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[entropy, differential_entropy]"],
    ],
)
def test_a_count_that_is_always_zero_is_refused(settings: list[str]) -> None:
    message = refusal(*settings)
    assert "every image would score 0" in message
    assert "only measures among entropy, expected_entropy, vacuity, dissonance" in message


@pytest.mark.parametrize(
    "settings",
    [
        ["adversarial.aggregation=count_above", "model.head=bernoulli"],
        ["adversarial.aggregation=count_above", "adversarial.measure.beta=dissonance"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[entropy, vacuity]"],
    ],
)
def test_a_count_that_can_rise_is_accepted(settings: list[str]) -> None:
    config = load_run(None, settings)
    assert "count_above" in (config.adversarial.aggregation, *config.evaluation.aggregations)


@pytest.mark.parametrize("key", ["adversarial.aggregation", "evaluation.deferral.aggregation"])
def test_a_pattern_is_no_score_to_choose_or_defer_by(key: str) -> None:
    message = refusal(f"{key}=morans_i")
    assert f"{key} must be a score that is higher where a model is less sure, got morans_i" in message
    assert load_run(None, ["evaluation.aggregations=[mean, morans_i]"]).evaluation.aggregations[1] == "morans_i"


@pytest.mark.parametrize("option", ["steps: 3", "restarts: 2", "norm: l2"])
def test_options_of_pgd_are_not_swallowed_by_other_attacks(option: str) -> None:
    name = option.partition(":")[0]
    assert f"{name} is no option of the attack fgsm" in refusal(
        f"evaluation.attacks=[{{name: fgsm, eps: [0.1], {option}}}]"
    )


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


def test_the_last_fold_exists() -> None:
    assert DataConfig(fold=4).fold == 4
    assert DataConfig(fold=0, folds=2).fold == 0
