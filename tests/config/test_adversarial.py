"""What adversarial training asks for at once and cannot have."""

import pytest
from pydantic import ValidationError

from trustseg.config import load_run
from trustseg.config.adversarial import WITH_FREE, AdversarialConfig, check_head, check_steps
from trustseg.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["adversarial.loss=trades"], "set mode=append"),
        (["adversarial.loss=ev_at", "adversarial.mode=append", "model.head=bernoulli"], "adversarial.loss=trades"),
        (["adversarial.pixel_weight=dissonance", "model.head=bernoulli"], "adversarial.pixel_weight=entropy"),
        (["adversarial.objective=divergence"], "where fgsm starts"),
        (["adversarial.objective=divergence", "adversarial.attack=mi_fgsm"], "rs_fgsm or pgd"),
        (["adversarial.attack=segpgd", "adversarial.objective=margin"], "segpgd needs objective=cross_entropy"),
        (["adversarial.selection=threshold"], "threshold=0.05"),
        (
            ["adversarial.selection=proportional", "adversarial.measure.beta=differential_entropy"],
            "differential_entropy is negative",
        ),
        (
            ["adversarial.loss=strength", "adversarial.mode=append", "adversarial.alignment.strength_weight=0"],
            "set loss=ev_at",
        ),
        (
            ["adversarial.alignment.divergence=symmetric_kl", "adversarial.alignment.one_sided=true"],
            "set one_sided=false",
        ),
        (["adversarial.loss=tradse"], "did you mean trades?"),
        (["adversarial.fraction_start=0"], "adversarial.fraction_start=0"),
        (["adversarial.weight_perturbation=1"], "number >= 0, < 1"),
    ],
)
def test_what_does_not_go_together(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(None, settings)
    assert words in str(caught.value)


def test_a_threshold_may_stand_beside_other_rules() -> None:
    """So that a study can name it once."""
    assert load_run(None, ["adversarial.threshold=0.1", "adversarial.selection=random"]).adversarial.threshold == 0.1


OTHERS = {
    "selection": "uncertain",
    "fraction": 0.5,
    "fraction_start": 0.25,
    "mode": "append",
    "loss": "trades",
    "objective": "margin",
    "pixel_weight": "entropy",
    "weight_perturbation": 0.01,
    "grad_align": 0.1,
}


@pytest.mark.parametrize("key", WITH_FREE)
def test_free_training_leaves_no_choice(key: str) -> None:
    assert AdversarialConfig.model_validate({**WITH_FREE, "attack": "free"}).attack == "free"
    also = {"mode": "append"} if key == "loss" else {}  # which trades needs, and is named first
    with pytest.raises(
        ValidationError, match=r"attack=free perturbs every image .*needs .*, got .*; set \w+=\S+ or an"
    ):
        AdversarialConfig.model_validate({**WITH_FREE, "attack": "free", key: OTHERS[key], **also})
    unused = {**WITH_FREE, "attack": "free", key: OTHERS[key], **also, "selection": "none"}
    assert AdversarialConfig.model_validate(unused).selection == "none"  # no adversarial examples


@pytest.mark.parametrize(
    ("values", "needs_evidence"),
    [
        ({}, False),
        ({"loss": "trades", "mode": "append"}, False),
        ({"loss": "ev_at", "mode": "append"}, True),
        ({"loss": "strength", "mode": "append"}, True),
        ({"pixel_weight": "entropy"}, False),
        ({"pixel_weight": "margin"}, False),
        ({"pixel_weight": "vacuity"}, True),
        ({"pixel_weight": "mutual_information"}, True),
        ({"pixel_weight": "dissonance"}, True),
    ],
)
def test_what_needs_evidence_needs_a_beta_head(values: dict[str, str], needs_evidence: bool) -> None:
    adversarial = AdversarialConfig.model_validate(values)
    check_head(adversarial, "beta")
    if needs_evidence:
        with pytest.raises(ValueError, match=r"needs a beta head, model\.head is bernoulli; set adversarial"):
            check_head(adversarial, "bernoulli")
    else:
        check_head(adversarial, "bernoulli")


def test_what_a_step_cannot_do() -> None:
    free = AdversarialConfig.model_validate({**WITH_FREE, "attack": "free"})
    aligned = AdversarialConfig(selection="random", grad_align=0.1)
    check_steps(free, accumulate=1, compiled=True)
    check_steps(aligned, accumulate=4, compiled=False)
    with pytest.raises(ValueError, match=r"training\.accumulate=1, got 2"):
        check_steps(free, accumulate=2, compiled=False)
    with pytest.raises(ValueError, match=r"training\.compile=false"):
        check_steps(aligned, accumulate=1, compiled=True)
    for adversarial in (free, aligned):  # with selection=none there are no adversarial examples
        check_steps(adversarial.model_copy(update={"selection": "none"}), accumulate=2, compiled=True)
