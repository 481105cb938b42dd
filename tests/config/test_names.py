"""Names of a configuration are those of the dictionaries."""

import sys
from operator import attrgetter

import pytest
from tests.config.given import refusal

from trustseg.attacks import ATTACKS, OBJECTIVES
from trustseg.config import load_run
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
        assert attrgetter(key)(load_run(None, settings)) == name
    message = refusal(f"{key}=nonsense")
    assert f"unknown value of {key} 'nonsense'" in message
    assert all(name in message for name in NAMES[key])


def test_every_option_can_be_set() -> None:
    settings = (
        "evaluation.attacks=[{name: mi_fgsm, eps: [4/255], momentum: 0.9}, {name: apgd, eps: [4/255], track: margin}]",
        "adversarial.attack={name: pgd, step_size: 2/255}",
        "adversarial.aggregation={name: patch_max, patch: 8}",
        "evaluation.aggregations=[mean, {name: quantile_mean, quantile: 0.9}]",
        "evaluation.deferral.aggregation=quantile_mean(quantile=0.9)",
        "loss.region={name: tversky, alpha: 0.2}",
        "loss.beta={name: focal_cross_entropy, gamma: 3}",
        "model.head=beta",
    )
    config = load_run(None, settings)
    assert [attack.label for attack in config.evaluation.attacks] == ["mi_fgsm_momentum0p9", "apgd_trackmargin"]
    assert config.evaluation.aggregations == ("mean", "quantile_mean(quantile=0.9)")
    assert (config.loss.region, config.loss.beta) == ("tversky(alpha=0.2)", "focal_cross_entropy(gamma=3)")
    assert config.adversarial.attack == "pgd(step_size=2/255)"
    again = load_run(None, [f"adversarial.attack={config.adversarial.attack}"])
    assert again.adversarial.attack == config.adversarial.attack


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
