"""Names of a configuration are those of the dictionaries."""

import sys

import pytest
from tests.config.given import refusal, value_at

from trustseg.attacks import ATTACKS, OBJECTIVES
from trustseg.config import (
    load_run,
)
from trustseg.errors import MissingPackageError
from trustseg.losses import losses_of
from trustseg.models import ARCHITECTURES
from trustseg.selection import SELECTIONS
from trustseg.uncertainty import AGGREGATIONS, MEASURES

NAMES = {
    "model.architecture": ARCHITECTURES,
    "loss.beta": losses_of("data"),
    "adversarial.selection": ["none", *SELECTIONS],
    "adversarial.attack": ATTACKS,
    "adversarial.objective": OBJECTIVES,
    "adversarial.measure.bernoulli": ["entropy", "variance"],
    "adversarial.measure.beta": MEASURES,
    "adversarial.aggregation": [name for name, each in AGGREGATIONS.items() if each.facts.ranks],
}


@pytest.mark.parametrize("key", NAMES)
def test_every_known_name_is_accepted_and_no_other(key: str) -> None:
    for name in NAMES[key]:
        settings = ["model.head=beta", "adversarial.measure.beta=vacuity", f"{key}={name}"]
        assert value_at(load_run(None, settings).model_dump(), key) == name
    message = refusal(f"{key}=nonsense")
    assert f"unknown value of {key} 'nonsense'" in message
    assert all(name in message for name in NAMES[key])


def test_a_name_nearly_right_gets_a_hint() -> None:
    assert "did you mean 'unet'?" in refusal("model.architecture=unit")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluation.attacks=[{name: pdg, eps: [0.1]}]", "did you mean 'pgd'?"),
        ("evaluation.attacks=[{name: pgd, eps: [0.1], objective: margni}]", "did you mean 'margin'?"),
        ("evaluation.measures=[entropi]", "did you mean 'entropy'?"),
        ("evaluation.aggregations=[men]", "did you mean 'mean'?"),
    ],
)
def test_names_in_lists_are_checked_too(override: str, words: str) -> None:
    assert words in refusal(override)


def test_a_bernoulli_head_takes_no_evidential_objective() -> None:
    for objective in ("digamma", "evidence_margin"):
        attack = f"evaluation.attacks=[{{name: pgd, eps: [0.1], objective: {objective}}}]"
        for override in (attack, f"adversarial.objective={objective}"):
            load_run(None, [override, "model.head=beta"])
            assert "needs a beta head, model.head is bernoulli" in refusal(override)


@pytest.mark.parametrize(
    "settings",
    [
        ["adversarial.aggregation=count_above", "model.head=beta"],  # its default measure is the epistemic variance
        ["adversarial.aggregation=count_above", "adversarial.measure.beta=mutual_information", "model.head=beta"],
        ["adversarial.aggregation=count_above", "adversarial.measure.bernoulli=variance", "model.head=bernoulli"],
        ["evaluation.aggregations=[mean, count_above]"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[variance]"],
        ["evaluation.aggregations=[count_above]", "evaluation.measures=[entropy, differential_entropy]"],
        ["evaluation.deferral.aggregation=count_above", "model.head=beta"],
        [
            *("evaluation.deferral.aggregation=count_above", "evaluation.deferral.measure.bernoulli=variance"),
            "model.head=bernoulli",
        ],
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
        ["evaluation.deferral.aggregation=count_above", "evaluation.deferral.measure.beta=vacuity"],
        ["evaluation.deferral.aggregation=count_above", "model.head=bernoulli"],
    ],
)
def test_a_count_that_can_rise_is_accepted(settings: list[str]) -> None:
    config = load_run(None, settings)
    evaluation = config.evaluation
    used = (config.adversarial.aggregation, *evaluation.aggregations, evaluation.deferral.aggregation)
    assert "count_above" in used


@pytest.mark.parametrize("key", ["adversarial.aggregation", "evaluation.deferral.aggregation"])
def test_a_pattern_is_no_score_to_choose_or_defer_by(key: str) -> None:
    message = refusal(f"{key}=morans_i")
    assert f"{key} must increase with uncertainty, got morans_i" in message
    assert load_run(None, ["evaluation.aggregations=[mean, morans_i]"]).evaluation.aggregations[1] == "morans_i"


@pytest.mark.parametrize("option", ["steps: 3", "restarts: 2", "norm: l2"])
def test_options_of_pgd_are_not_swallowed_by_other_attacks(option: str) -> None:
    name = option.partition(":")[0]
    assert f"unknown option of the attack fgsm '{name}'" in refusal(
        f"evaluation.attacks=[{{name: fgsm, eps: [0.1], {option}}}]"
    )


def test_every_option_can_be_set() -> None:
    settings = (
        "evaluation.attacks=[{name: mi_fgsm, eps: [4/255], momentum: 0.9}, {name: apgd, eps: [4/255], track: margin}]",
        "adversarial.attack={name: pgd, step_size: 2/255}",
        "adversarial.aggregation={name: patch_max, patch: 8}",
        "evaluation.aggregations=[mean, {name: quantile_mean, quantile: 0.9}]",
        "evaluation.deferral.aggregation=quantile_mean(quantile=0.9)",
    )
    config = load_run(None, settings)
    assert [attack.label for attack in config.evaluation.attacks] == ["mi_fgsm_momentum0p9", "apgd_trackmargin"]
    assert config.adversarial.attack == "pgd(step_size=2/255)"
    assert config.evaluation.aggregations == ("mean", "quantile_mean(quantile=0.9)")
    assert (
        load_run(None, [f"adversarial.attack={config.adversarial.attack}"]).adversarial.attack == "pgd(step_size=2/255)"
    )
    for wrong, word in (
        ("adversarial.attack={name: pgd, step_size: -1}", "step_size"),
        ("evaluation.aggregations=[{name: quantile_mean, quantil: 0.9}]", "did you mean 'quantile'?"),
        ("evaluation.attacks=[{name: mi_fgsm, eps: [0.1], momentm: 0.9}]", "did you mean 'momentum'?"),
        ("evaluation.attacks=[{name: pgdd}]", "did you mean 'pgd'?"),
        ("evaluation.attacks=[{name: pgdd, eps: [300], stepps: 1}]", "did you mean 'pgd'?"),
        ("evaluation.attacks=[{name: pgd}]", "eps is missing"),
    ):
        assert word in refusal(wrong)


@pytest.mark.parametrize("attack", ["staged", "fgsm", "{name: pgd, random_start: false}"])
def test_divergence_needs_a_start_away_from_the_image(attack: str) -> None:
    assert "no gradient at the clean image" in refusal(
        "adversarial.objective=divergence", f"adversarial.attack={attack}"
    )
    load_run(None, ["adversarial.objective=divergence", "adversarial.attack=pgd"])


@pytest.mark.oracle
def test_attacks_of_the_toolbox_are_known_by_name() -> None:
    pytest.importorskip("art")
    for eps in ("", ", eps: [0.1]"):
        words = refusal(f"evaluation.attacks=[{{name: 'art:ProjectedGradientDescen'{eps}}}]")
        assert "did you mean 'ProjectedGradientDescent'" in words


def test_without_the_toolbox_its_attacks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "art", None)
    monkeypatch.delitem(sys.modules, "trustseg.art", raising=False)
    with pytest.raises(MissingPackageError, match=r"trustseg\[art\]"):
        load_run(None, ["evaluation.attacks=[{name: 'art:FastGradientMethod', eps: [0.1]}]"])
