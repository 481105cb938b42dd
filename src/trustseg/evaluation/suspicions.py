"""Signs that a model only looks robust: named checks of the attacks that were run against it.

An attack that follows gradients fails on a model whose gradients say nothing, and its failure looks like robustness.
Each check of ``CHECKS`` compares things that must agree if the gradients are honest. A check that fails makes every
robustness number of the model untrustworthy.

Reference:
    Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, arXiv:1802.00420, section 3.1;
    Carlini et al., "On Evaluating Adversarial Robustness", arXiv:1902.06705, section 5. The thresholds are ours.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from trustseg.attacks import ATTACKS, Model, isolated
from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.errors import DataError
from trustseg.evaluation.victim import Suspicion, Victim
from trustseg.randomness import derived_generator

__all__ = ["CHECKS", "suspicions"]


def _judged(name: str, figure: float, threshold: float, meaning: str) -> Suspicion:
    """Return the verdict; a figure that is NaN is suspicious too, as nothing that is honest gives one."""
    return Suspicion(name, "ok" if figure <= threshold else "suspicious", figure, threshold, meaning)


def _not_run(name: str, threshold: float, why: str) -> Suspicion:
    return Suspicion(name, "not_run", float("nan"), threshold, why)


def zero_gradients(victim: Victim) -> Suspicion:
    """Share of images where more than 1 % of the pixels have a gradient of exactly 0 (S1)."""
    with isolated(victim.model):
        images = victim.images.clone().requires_grad_()
        margins = (2 * victim.masks - 1) * victim.model(images).log_odds
        (gradient,) = torch.autograd.grad(torch.nn.functional.softplus(-margins).sum(), images)
    share = (gradient == 0).flatten(1).double().mean(dim=1)
    meaning = (
        "share of images on which more than 1 % of the pixels have an exactly zero gradient: an attack is blind there"
    )
    return _judged("zero_gradients", float((share > 0.01).double().mean()), 0.05, meaning)


def rising_dice(victim: Victim) -> Suspicion:
    """Largest rise of the mean Dice from one budget to the next larger one, PGD-20, each from the clean image (S2)."""
    ladder = [victim.eps * factor for factor in (0.5, 1.0, 2.0, 4.0)]
    curve = [
        victim.mean_dice(victim.attacked("pgd", steps=20, eps=min(1.0, eps), objective="margin")) for eps in ladder
    ]
    rise = max(after - before for before, after in pairwise(curve))
    return _judged(
        "rising_dice", rise, 0.005, "largest rise of Dice when the budget doubles: more budget must not help"
    )


def unbounded_budget(victim: Victim) -> Suspicion:
    """Mean Dice at eps = 1, where an attack may paint any image (S3)."""
    painted = victim.attacked("ensemble", eps=1.0, preset="standard")
    meaning = "mean Dice when the attack may change everything: it should be near 0"
    return _judged("unbounded_budget", victim.mean_dice(painted), 0.05, meaning)


def more_steps(victim: Victim) -> Suspicion:
    """By how much PGD-10 is weaker than FGSM, or PGD-100 than PGD-10, in mean Dice (S4)."""
    scores = [
        victim.mean_dice(victim.attacked("fgsm")),
        victim.mean_dice(victim.attacked("pgd", steps=10)),
        victim.mean_dice(victim.attacked("pgd", steps=100)),
    ]
    weaker = max(scores[1] - scores[0], scores[2] - scores[1])
    meaning = "by how much Dice is higher under PGD-10 than FGSM, or PGD-100 than PGD-10: more steps must not help"
    return _judged("more_steps", weaker, 0.005, meaning)


def restarts(victim: Victim) -> Suspicion:
    """Gain of five random starts over one, PGD-20 (S5)."""
    one, five = (victim.mean_dice(victim.attacked("pgd", steps=20, restarts=count)) for count in (1, 5))
    meaning = "Dice lost by four more random starts: if much, a single start gets stuck"
    return _judged("restarts", one - five, 0.04, meaning)


def noise(victim: Victim) -> Suspicion:
    """Drop under uniform noise as a share of the drop under PGD-20 of the same budget (S6)."""
    clean, attacked = victim.mean_dice(victim.images), victim.mean_dice(victim.attacked("pgd", steps=20))
    if clean - attacked <= 0.02:
        return _not_run(
            "noise", 0.5, "not run: PGD-20 costs at most .02 of Dice at this budget, nothing to compare with"
        )
    generator = derived_generator(victim.seed, "suspicions", "noise")
    change = (2 * torch.rand(victim.images.shape, generator=generator) - 1) * victim.eps
    noisy = (victim.images + change.to(victim.images)).clamp(0, 1)
    share = (clean - victim.mean_dice(noisy)) / (clean - attacked)
    meaning = "drop under random noise as a share of the drop under attack: noise must not rival an attack"
    return _judged("noise", share, 0.5, meaning)


def transfer(victim: Victim) -> Suspicion:
    """Share of images that another model's adversarial examples hurt more than the model's own (S7)."""
    if victim.surrogate is None:
        return _not_run("transfer", 0.02, "not run: no other model was given to borrow adversarial images from")
    generator = derived_generator(victim.seed, "suspicions", "transfer")
    borrowed = ATTACKS["pgd"](victim.surrogate, victim.images, victim.masks, eps=victim.eps, generator=generator)
    own = victim.dice(victim.attacked("ensemble"))
    meaning = "share of images that another model's adversarial examples hurt more than the model's own gradients do"
    return _judged("transfer", _beaten(victim, own, victim.dice(borrowed)), 0.02, meaning)


def square(victim: Victim) -> Suspicion:
    """Share of images that a search without gradients hurts more than the gradient attacks (S8)."""
    if victim.square_steps == 0:
        return _not_run("square", 0.01, "not run: no queries were granted to the Square attack")
    found = victim.dice(victim.attacked("square", steps=victim.square_steps))
    meaning = (
        f"share of images that Square with {victim.square_steps} queries hurts more than attacks with gradients do"
    )
    return _judged("square", _beaten(victim, victim.dice(victim.attacked("ensemble")), found), 0.01, meaning)


def _beaten(victim: Victim, own: Tensor, other: Tensor) -> float:
    """Return the share of infected images on which ``other`` is a lower Dice than ``own``."""
    return float((other < own - 1e-6)[victim.infected].double().mean())


def finite_differences(victim: Victim) -> Suspicion:
    """Relative error of the directional derivative against a central difference in float64 (S9)."""
    if not isinstance(victim.model, nn.Module):
        return _not_run("finite_differences", 0.05, "not run: the model is no module that could be put into float64")
    model = copy.deepcopy(victim.model).double().eval()
    images, masks = victim.images[:4].double(), victim.masks[:4].double()
    generator = derived_generator(victim.seed, "suspicions", "differences")
    direction = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images.device)

    def loss(points: Tensor) -> Tensor:
        margins = (2 * masks - 1) * model(points).log_odds
        return torch.nn.functional.softplus(-margins).flatten(1).mean(dim=1).sum()

    with isolated(model):
        images = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(images), images)
        slope, step = float((gradient * direction).sum()), 1e-5
        with torch.no_grad():
            measured = float((loss(images + step * direction) - loss(images - step * direction)) / (2 * step))
    error = abs(slope - measured) / max(abs(slope), abs(measured), 1e-12)
    meaning = "relative error of the gradient against finite differences: the gradient must be that of the model"
    return _judged("finite_differences", error, 0.05, meaning)


def rescaled_logits(victim: Victim) -> Suspicion:
    """Change of Dice under PGD-20 on the margin when the model's logits are multiplied by 10 (S10)."""
    objective = "evidence_margin" if isinstance(victim.belief(victim.images[:1]), Beta) else "margin"
    own = victim.mean_dice(victim.attacked("pgd", steps=20, objective=objective))
    sharp = victim.mean_dice(_rescaled(victim, 10.0).attacked("pgd", steps=20, objective=objective))
    meaning = "change of Dice when all logits are ten times larger, which changes no mask: scale must not protect"
    return _judged("rescaled_logits", abs(sharp - own), 0.01, meaning)


def saturated_loss(victim: Victim) -> Suspicion:
    """By how much masked cross-entropy is weaker here than on a model of the same masks and small logits (S11)."""
    typical = float(victim.belief(victim.images).log_odds.abs().median())
    own = victim.mean_dice(victim.attacked("pgd", steps=20, objective="balanced_masked_cross_entropy"))
    small = _rescaled(victim, min(1.0, 2.0 / max(typical, 1e-12)))
    found = victim.mean_dice(small.attacked("pgd", steps=20, objective="balanced_masked_cross_entropy"))
    meaning = "by how much the attack finds less Dice to take than after shrinking all logits to |z| = 2: saturation"
    return _judged("saturated_loss", own - found, 0.02, meaning)


def _rescaled(victim: Victim, factor: float) -> Victim:
    """Return the victim with all logits, or all evidence, multiplied: the same masks."""

    def model(images: Tensor) -> Belief:
        with isolated(victim.model):  # a function hides the mode of its module from the attack
            belief = victim.model(images)
        if isinstance(belief, Beta):
            alpha, beta = (belief.prior + factor * (part - belief.prior) for part in (belief.alpha, belief.beta))
            return Beta(alpha, beta, belief.prior)
        return Bernoulli(factor * belief.log_odds)

    return replace(victim, model=model, found={})


def repeated_forward(victim: Victim) -> Suspicion:
    """Largest difference of p between two forward passes of the same images (S12)."""
    first, second = (victim.belief(victim.images).probability for _ in range(2))
    meaning = "largest difference of p between two passes of one image: a random model needs averaged gradients"
    return _judged("repeated_forward", float((first - second).abs().max()), 1e-6, meaning)


def saturation(victim: Victim) -> Suspicion:
    """Share of pixels whose belief is so sure that losses have no slope left (S13)."""
    belief = victim.belief(victim.images)
    sure = belief.log_odds.abs() > 16
    if isinstance(belief, Beta):
        sure = sure | (belief.strength > 1e4)
    return _judged(
        "saturation", float(sure.double().mean()), 0.05, "share of pixels with |log-odds| > 16 or evidence > 1e4"
    )


def rounding(victim: Victim) -> Suspicion:
    """Share of PGD-20's drop that is lost when the images are rounded to 8 bits (S14)."""
    levels = victim.eps * 255
    if abs(levels - round(levels)) > 1e-6:
        return _not_run("rounding", 0.5, "not run: the budget is no whole number of grey levels")
    attacked = victim.attacked("pgd", steps=20)
    clean, found = victim.mean_dice(victim.images), victim.mean_dice(attacked)
    if clean - found <= 0.02:
        return _not_run(
            "rounding", 0.5, "not run: PGD-20 costs at most .02 of Dice at this budget, nothing to compare with"
        )
    lost = 1 - (clean - victim.mean_dice((attacked * 255).round() / 255)) / (clean - found)
    meaning = "share of the drop that is lost when the attacked image is stored with 8 bits"
    return _judged("rounding", lost, 0.5, meaning)


CHECKS: Final[Mapping[str, Callable[[Victim], Suspicion]]] = {
    "zero_gradients": zero_gradients,
    "rising_dice": rising_dice,
    "unbounded_budget": unbounded_budget,
    "more_steps": more_steps,
    "restarts": restarts,
    "noise": noise,
    "transfer": transfer,
    "square": square,
    "finite_differences": finite_differences,
    "rescaled_logits": rescaled_logits,
    "saturated_loss": saturated_loss,
    "repeated_forward": repeated_forward,
    "saturation": saturation,
    "rounding": rounding,
}


def suspicions(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float = 2 / 255,
    seed: int = 0,
    surrogate: Model | None = None,
    square_steps: int = 2000,
    report: Callable[[int], None] | None = None,
) -> list[Suspicion]:
    """Return what every check of ``CHECKS`` finds on a few images.

    Costs about 500 backward passes an image, and ``square_steps`` forward passes.

    Args:
        model: any callable from images to a belief; it is left as found.
        images: (B, C, H, W) float32 in [0, 1]; 16 to 32 images are enough.
        masks: (B, 1, H, W) in {0, 1}; only images with foreground count where Dice is compared.
        eps: L-inf budget in pixel units of [0, 1], in (0, 1].
        seed: seed of every random start.
        surrogate: another model to borrow adversarial images from; without one that check is not run.
        square_steps: queries of the Square attack; 0 leaves it out.
        report: called after each check with the number done.

    Raises:
        DataError: if no mask has foreground.
        AttackError: if an attack cannot be run at all, e.g. on a model without a gradient.
    """
    victim = Victim(model, images, masks, eps, seed=seed, surrogate=surrogate, square_steps=square_steps)
    if not bool(victim.infected.any()):
        raise DataError(
            "all masks are empty, at least one with foreground was expected, as Dice is compared; choose other images"
        )
    found = []
    for number, check in enumerate(CHECKS.values()):
        found.append(check(victim))
        if report is not None:
            report(number + 1)
    return found
