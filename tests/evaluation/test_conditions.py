from dataclasses import replace

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from torch import Tensor

from trustseg.attacks import ATTACKS, Attack, pgd
from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.errors import AttackError, ConfigError
from trustseg.evaluation.conditions import CLEAN, Condition, Deployed, conditions_of, perturb, perturbation_size
from trustseg.metrics import harm
from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFT_TABLE, SHIFTS

IMAGES = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
MASKS = (IMAGES > 0.7).float()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def under(condition: Condition, *, images: Tensor = IMAGES, masks: Tensor = MASKS) -> Tensor:
    """Return the images under a condition that moves no mask."""
    changed, same, _ = perturb(small_segmenter().eval(), images, masks, condition, generator=generator())
    assert same is masks
    return changed


def test_file_names_are_safe_and_different() -> None:
    ladder = tuple(level / 255 for level in range(1, 17))
    attacks = tuple(AttackConfig(name=name, eps=ladder) for name in ATTACKS)
    slugs = [condition.slug for condition in conditions_of(EvaluationConfig(attacks=attacks))]
    assert len(set(slugs)) == len(slugs) == 1 + 16 * len(ATTACKS)
    assert all(slug.replace("_", "").isalnum() for slug in slugs)


def test_options_of_pgd_reach_it() -> None:
    model = small_segmenter().eval()
    attack = AttackConfig(name="pgd", eps=(2.0,), steps=3, restarts=2, norm="l2", objective="margin")
    found = under(Condition("x", 2.0, attack))
    expected = pgd(
        model, IMAGES, MASKS, eps=2.0, objective="margin", norm="l2", steps=3, restarts=2, generator=generator()
    )
    assert torch.equal(found, expected)
    assert float(perturbation_size(found - IMAGES, norm="l2").max()) <= 2 + 2e-6


def cheat(change: float | Tensor, *, shape: tuple[int, ...] | None = None) -> Attack:
    def attack(
        model: object,
        images: Tensor,
        masks: Tensor,
        *,
        eps: float | Tensor,
        objective: object = "cross_entropy",
        generator: torch.Generator | None = None,
        keep_best: bool = True,
    ) -> Tensor:
        return images + change if shape is None else torch.zeros(shape)

    return attack


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (cheat(0.11), "exceeded its budget"),
        (cheat(-0.11), "exceeded its budget"),
        (cheat(0.1), "exceeded its budget"),  # within eps, yet out of [0, 1] where the image is bright
        (cheat(torch.nan), "exceeded its budget"),
        (cheat(0.0, shape=(3, 1, 16, 16)), "shape (3, 1, 16, 16)"),
        (cheat(0.0, shape=(3, 3, 32, 32)), "shape (3, 3, 32, 32)"),
        (cheat(0.0, shape=(1, 1, 32, 32)), "shape (1, 1, 32, 32)"),
    ],
)
def test_an_attack_that_cheats_is_caught(monkeypatch: pytest.MonkeyPatch, attack: Attack, words: str) -> None:
    monkeypatch.setitem(ATTACKS, "fgsm", replace(ATTACKS["fgsm"], function=attack))
    condition = Condition("fgsm", 0.1, AttackConfig(name="fgsm", eps=(0.1,)))
    with pytest.raises(AttackError) as caught:
        perturb(small_segmenter(), IMAGES, MASKS, condition, generator=generator())
    assert words in str(caught.value)
    assert "results are void" in str(caught.value)


def test_rounding_is_no_cheating(monkeypatch: pytest.MonkeyPatch) -> None:
    bright = torch.full((1, 1, 4, 4), 0.95)
    monkeypatch.setitem(ATTACKS, "fgsm", replace(ATTACKS["fgsm"], function=cheat(0.05 + 5e-7)))
    condition = Condition("fgsm", 0.05, AttackConfig(name="fgsm", eps=(0.05,)))
    found = under(condition, images=bright, masks=torch.zeros_like(bright))
    assert float(found.max()) <= 1


def test_sizes_of_perturbations_by_hand() -> None:
    change = torch.zeros(2, 1, 2, 2)
    change[0, 0, 0] = torch.tensor([0.3, -0.4])
    assert perturbation_size(change, norm="linf").tolist() == pytest.approx([0.4, 0])
    assert perturbation_size(change, norm="l2").tolist() == pytest.approx([0.5, 0])
    large = torch.full((1, 3, 512, 512), 0.1)  # float32 sums would be off by more than the tolerance
    assert float(perturbation_size(large, norm="l2")) == pytest.approx(float(large[0, 0, 0, 0]) * (3 * 512**2) ** 0.5)


def test_clean_comes_first_and_budgets_and_severities_rise() -> None:
    config = EvaluationConfig(
        attacks=(AttackConfig(name="pgd", eps=(0.2, 0.0, 0.1), steps=3), AttackConfig(name="fgsm", eps=(0.1,))),
        shifts=("rotation", "jpeg"),
        severities=(5, 1),
        populations={"lateral": "somewhere"},
    )
    conditions = conditions_of(config)
    assert conditions[0] is CLEAN
    assert [(one.name, one.kind, one.eps, one.severity) for one in conditions[1:]] == [
        ("pgd3", "attack", 0.1, 0),
        ("pgd3", "attack", 0.2, 0),
        ("fgsm", "attack", 0.1, 0),
        ("rotation_1", "shift", 0, 1),
        ("rotation_5", "shift", 0, 5),
        ("jpeg_1", "shift", 0, 1),
        ("jpeg_5", "shift", 0, 5),
        ("lateral", "population", 0, 0),
    ]
    assert [one.attack for one in conditions[1:4]] == [config.attacks[0], config.attacks[0], config.attacks[1]]
    every, standard = (
        [one.shift for one in conditions_of(EvaluationConfig(attacks=(), shifts=words, severities=(3,)))[1:]]
        for words in (("jpeg", "extended"), ("all",))
    )
    assert sorted(map(str, every)) == sorted([*SHIFTS, *GEOMETRIC_SHIFTS])
    assert standard == [name for name in (*SHIFTS, *GEOMETRIC_SHIFTS) if name in [*SHIFT_TABLE][:19]]


def test_a_geometric_shift_moves_the_mask() -> None:
    condition = Condition("translation_5", shift="translation", severity=5)
    images, masks, _ = perturb(small_segmenter(), IMAGES, MASKS, condition, generator=generator())
    moved = GEOMETRIC_SHIFTS["translation"](IMAGES, MASKS, 5, generator())
    assert torch.equal(images, moved[0])
    assert torch.equal(masks, moved[1])
    assert not torch.equal(masks, MASKS)


def test_attacks_on_the_uncertainty_need_a_policy_to_aim_at() -> None:
    condition = Condition("deferral_aware", 0.1, AttackConfig(name="deferral_aware", eps=(0.1,), steps=3))
    with pytest.raises(ConfigError, match="needs a deferral policy"):
        under(condition)
    model, deployed = small_segmenter().eval(), Deployed("entropy", "mean", 0.5, 0.8)
    attacked, *_ = perturb(model, IMAGES, MASKS, condition, generator=generator(), deployed=deployed)
    assert float((attacked - IMAGES).abs().max()) <= 0.1 + 1e-6
    changed = ~torch.isclose(attacked, IMAGES).flatten(1).all(1)
    with torch.no_grad():  # what is attacked stays below the threshold
        assert bool((deployed.score(model.belief(attacked))[changed] < 0.5).all())


def test_what_a_good_prediction_is_comes_from_the_policy() -> None:
    condition = Condition("rank_swap", 0.1, AttackConfig(name="rank_swap", eps=(0.1,), steps=3))
    model = small_segmenter().eval()
    scores = {}
    for median in (0.0, 2.0):  # all predictions are good, none is
        deployed = Deployed("entropy", "mean", 0.5, median)
        found, *_ = perturb(model, IMAGES, MASKS, condition, generator=generator(), deployed=deployed)
        with torch.no_grad():
            scores[median] = deployed.score(model.belief(found))
    with torch.no_grad():
        clean = Deployed("entropy", "mean", 0.5, 0.5).score(model.belief(IMAGES))
    assert bool((scores[0.0] >= clean).all())
    assert bool((scores[2.0] < clean).all())


def test_the_ensemble_carries_what_smaller_budgets_found() -> None:
    attack = AttackConfig(name="ensemble", eps=(0.1,))
    weak = (IMAGES - 0.05).clamp(0, 1)
    model = small_segmenter().eval()
    found, *_ = perturb(
        model, IMAGES, MASKS, Condition("ensemble", 0.1, attack), generator=generator(), candidates=[weak]
    )
    harms = [float(harm(model.belief(images).log_odds > 0, MASKS).mean()) for images in (found, weak, IMAGES)]
    assert harms[0] >= max(harms[1:])
