"""Attacks with a single gradient: FGSM and its variants with a random start."""

import torch
from torch import Tensor

from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import LINF, gaussian
from trustseg.attacks.search import Model, Search, ascend, require_generator

__all__ = ["fgsm", "n_fgsm", "r_fgsm", "rs_fgsm"]


def fgsm(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved once, by eps along the sign of the gradient: x' = clip(x + eps sign g(x)).

    Reference:
        Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572, section 4.
    """
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        return search.result(ascend(search, search.images, LINF, step_size=search.radius, steps=1))


def r_fgsm(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved by eps/2 at random, then by eps/2 along the sign of the gradient found there.

    x1 = clip(x + eps/2 sign(N(0, 1))); x' = clip(x1 + eps/2 sign g(x1)). The generator draws the random step.

    Reference:
        Tramer et al., "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, arXiv:1705.07204, equation 4
        with alpha = eps/2 as in its table 2. x1 is clipped to [0, 1] as in the authors' code.
    """
    generator = require_generator(generator, "r_fgsm starts at random")
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        half = search.radius / 2
        start = (search.images + half * gaussian(search.images, generator).sign()).clamp(0, 1)
        search.offer(search.images, progress=0.0)
        return search.result(ascend(search, start, LINF, step_size=half, steps=1))


def rs_fgsm(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved to a random point of the ball, then by 1.25 eps along the sign of the gradient found there.

    d ~ U(-eps, eps), clipped so that x + d is in [0, 1]; x' = x + d + 1.25 eps sign g(x + d), projected onto ball and
    box. The generator draws d.

    Reference:
        Wong et al., "Fast is better than free: Revisiting adversarial training", ICLR 2020, arXiv:2001.03994,
        algorithm 3 with alpha = 1.25 eps.
    """
    generator = require_generator(generator, "rs_fgsm starts at random")
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        search.offer(search.images, progress=0.0)
        start = LINF.start(search.images, search.radius, generator)
        return search.result(ascend(search, start, LINF, step_size=1.25 * search.radius, steps=1))


def n_fgsm(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return images moved by strong noise, then by eps along the sign of the gradient found there, within 3 eps.

    e ~ U(-2 eps, 2 eps), clipped so that x + e is in [0, 1]; x' = clip(x + e + eps sign g(x + e)). The generator draws
    e. A perturbation to train on, not an attack: it leaves the ball of eps, so it says nothing about robustness and is
    not in ``ATTACKS``.

    Reference:
        de Jorge et al., "Make Some Noise: Reliable and Efficient Single-Step Adversarial Training", NeurIPS 2022,
        arXiv:2202.01181, equation 4 with k = 2 and alpha = eps.
    """
    generator = require_generator(generator, "n_fgsm draws noise")
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=False)
        noisy = LINF.start(search.images, 2 * search.radius, generator)
        moved = noisy + search.radius * search.gradient(noisy, progress=0.0).sign()
        return search.result(moved.clamp(0, 1))
