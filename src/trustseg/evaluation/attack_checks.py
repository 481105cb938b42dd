"""Checks that compare attacks: what must agree if the gradients that they follow are honest."""

from dataclasses import replace
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks import ATTACKS, isolated
from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.evaluation.victim import MaskingCheck, Victim, not_run, verdict_on

__all__ = [
    "more_steps",
    "noise",
    "rescaled_logits",
    "restarts",
    "rising_dice",
    "rounding",
    "saturated_loss",
    "square",
    "still_falling",
    "transfer",
    "unbounded_budget",
]

STEPS: Final = 100
MORE_STEPS: Final = 300


def rising_dice(victim: Victim) -> MaskingCheck:
    """Largest rise of the mean Dice from one budget to the next larger one, PGD-20, each from the clean image (S2)."""
    ladder = [victim.eps * factor for factor in (0.5, 1.0, 2.0, 4.0)]
    curve = [
        victim.mean_dice(victim.attacked("pgd", steps=20, eps=min(1.0, eps), objective="margin")) for eps in ladder
    ]
    rise = max(after - before for before, after in pairwise(curve))
    return verdict_on(rise, 0.005, "largest rise of Dice when the budget doubles; should be 0")


def unbounded_budget(victim: Victim) -> MaskingCheck:
    """Mean Dice at eps = 1, where an attack may paint any image (S3)."""
    painted = victim.attacked("ensemble", eps=1.0, preset="standard")
    meaning = "mean Dice under an unbounded attack; should be near 0"
    return verdict_on(victim.mean_dice(painted), 0.05, meaning)


def more_steps(victim: Victim) -> MaskingCheck:
    """By how much PGD-10 is weaker than FGSM, or PGD-100 than PGD-10, in mean Dice (S4)."""
    scores = [
        victim.mean_dice(victim.attacked("fgsm")),
        victim.mean_dice(victim.attacked("pgd", steps=10)),
        victim.mean_dice(victim.attacked("pgd", steps=100)),
    ]
    weaker = max(scores[1] - scores[0], scores[2] - scores[1])
    meaning = "rise of Dice from FGSM to PGD-10, or from PGD-10 to PGD-100; should be 0"
    return verdict_on(weaker, 0.005, meaning)


def still_falling(victim: Victim) -> MaskingCheck:
    """Dice that Auto-PGD on soft Dice still gains when its steps go from ``STEPS`` to ``MORE_STEPS`` (S4)."""
    few, many = (
        victim.mean_dice(victim.attacked("apgd", steps=steps, objective="soft_dice")) for steps in (STEPS, MORE_STEPS)
    )
    meaning = f"Dice lost between {STEPS} and {MORE_STEPS} steps of Auto-PGD: a large loss shows a lack of convergence"
    return verdict_on(few - many, 0.03, meaning)


def restarts(victim: Victim) -> MaskingCheck:
    """Gain of five random starts over one, PGD-20 (S5)."""
    one, five = (victim.mean_dice(victim.attacked("pgd", steps=20, restarts=count)) for count in (1, 5))
    meaning = "Dice lost by four more random starts; a large loss means that single runs get stuck"
    return verdict_on(one - five, 0.04, meaning)


def noise(victim: Victim) -> MaskingCheck:
    """Drop under uniform noise as a share of the drop under PGD-20 of the same budget (S6)."""
    clean, attacked = victim.mean_dice(victim.images), victim.mean_dice(victim.attacked("pgd", steps=20))
    if clean - attacked <= 0.02:
        return not_run(0.5, "PGD-20 costs at most .02 of Dice at this budget, nothing to compare with")
    generator = victim.generator("noise")
    change = (2 * torch.rand(victim.images.shape, generator=generator) - 1) * victim.eps
    noisy = (victim.images + change.to(victim.images)).clamp(0, 1)
    share = (clean - victim.mean_dice(noisy)) / (clean - attacked)
    meaning = "drop of Dice under random noise as a share of the drop under attack"
    return verdict_on(share, 0.5, meaning)


def transfer(victim: Victim) -> MaskingCheck:
    """Share of images that another model's adversarial examples hurt more than the model's own (S7)."""
    if victim.surrogate is None:
        return not_run(0.02, "no surrogate model was given")
    generator = victim.generator("transfer")
    borrowed = ATTACKS["pgd"](victim.surrogate, victim.images, victim.masks, eps=victim.eps, generator=generator)
    whose = "another model's adversarial examples"
    return _verdict_against_suite(victim, victim.dice(borrowed), whose, share=0.02, mean=0.005)


def square(victim: Victim) -> MaskingCheck:
    """Share of images that a search without gradients hurts more than the gradient attacks (S8)."""
    if victim.square_steps == 0:
        return not_run(0.01, "the Square attack was given no queries")
    found = victim.dice(victim.attacked("square", steps=victim.square_steps))
    whose = f"Square with {victim.square_steps} queries"
    return _verdict_against_suite(victim, found, whose, share=0.01, mean=0.002)


def _verdict_against_suite(victim: Victim, other: Tensor, whose: str, *, share: float, mean: float) -> MaskingCheck:
    """Judge an attack without the model's gradients by the Dice (B,) it leaves, against the attack suite that has them.

    There are two limits: the share of images with foreground on which it is stronger, and by how much on average. An
    image on which it is stronger by no more than the latter does not count: on a few images, one pixel would be a
    verdict. The figure is that share, unless the average alone is beyond its limit.
    """
    own, other = (dice[victim.positive] for dice in (victim.dice(victim.attacked("ensemble")), other))
    beaten = float((own - other > mean).double().mean())
    gain = float((own - other).double().mean())
    if gain > mean and beaten <= share:
        return verdict_on(gain, mean, f"mean Dice lost to {whose} beyond the attack with the model's own gradients")
    meaning = f"share of images that {whose} damage more than the attack with the model's own gradients"
    return verdict_on(beaten, share, meaning)


def rescaled_logits(victim: Victim) -> MaskingCheck:
    """Change of Dice under PGD-20 on the margin when the model's logits are multiplied by 10 (S10)."""
    objective = "evidence_margin" if isinstance(victim.belief(victim.images[:1]), Beta) else "margin"
    own = victim.mean_dice(victim.attacked("pgd", steps=20, objective=objective))
    sharp = victim.mean_dice(_rescale_logits(victim, 10.0).attacked("pgd", steps=20, objective=objective))
    meaning = "change of Dice when all logits are multiplied by ten, which changes no mask"
    return verdict_on(abs(sharp - own), 0.01, meaning)


def saturated_loss(victim: Victim) -> MaskingCheck:
    """By how much masked cross-entropy is weaker here than on a model of the same masks and small logits (S11)."""
    typical = float(victim.belief(victim.images).log_odds.abs().median())
    own = victim.mean_dice(victim.attacked("pgd", steps=20, objective="balanced_masked_cross_entropy"))
    small = _rescale_logits(victim, min(1.0, 2.0 / max(typical, 1e-12)))
    found = victim.mean_dice(small.attacked("pgd", steps=20, objective="balanced_masked_cross_entropy"))
    meaning = "Dice that the attack lowers further after scaling all logits to |z| = 2: saturation"
    return verdict_on(own - found, 0.02, meaning)


def rounding(victim: Victim) -> MaskingCheck:
    """Share of PGD-20's drop that is lost when the images are rounded to 8 bits (S14)."""
    levels = victim.eps * 255
    if abs(levels - round(levels)) > 1e-6:
        return not_run(0.5, "the budget is not a whole number of grey levels")
    attacked = victim.attacked("pgd", steps=20)
    clean, found = victim.mean_dice(victim.images), victim.mean_dice(attacked)
    if clean - found <= 0.02:
        return not_run(0.5, "PGD-20 costs at most .02 of Dice at this budget, nothing to compare with")
    lost = 1 - (clean - victim.mean_dice((attacked * 255).round() / 255)) / (clean - found)
    meaning = "share of the drop of Dice that is lost when the adversarial image is rounded to 8 bits"
    return verdict_on(lost, 0.5, meaning)


def _rescale_logits(victim: Victim, factor: float) -> Victim:
    """Return the victim with all logits, or all evidence, multiplied: the same masks."""

    def model(images: Tensor) -> Belief:
        with isolated(victim.model):  # a function hides the mode of its module from the attack
            belief = victim.model(images)
        if isinstance(belief, Beta):
            alpha, beta = (belief.prior + factor * (part - belief.prior) for part in (belief.alpha, belief.beta))
            return Beta(alpha, beta, belief.prior)
        return Bernoulli(factor * belief.log_odds)

    return replace(victim, model=model, found={})
