"""ART's attacks under the contract of ``trustseg.attacks``."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from art.attacks import evasion
from torch import Tensor

from trustseg.art.estimator import Segmentation
from trustseg.attacks import Model, isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import NormName, find_norm, gaussian
from trustseg.attacks.search import Search, require_generator
from trustseg.errors import AttackError, TrustsegError, unknown_name

__all__ = ["ART_ATTACKS", "random_start", "run_art"]

Value = bool | int | float | str
Options = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How an attack of ART is called here.

    Attributes:
        norms: budgets it can keep.
        stride: length of its steps by default, times eps / steps; 0 for an attack without steps.
        parameters: what may be set besides eps, norm and steps.
        draws: whether it draws random numbers of its own.
        verbose: whether it draws progress bars unless told not to.
    """

    norms: tuple[NormName, ...] = ("linf", "l2")
    stride: float = 0.0
    parameters: tuple[str, ...] = ()
    draws: bool = False
    verbose: bool = True


ART_ATTACKS: Final[Mapping[str, _Recipe]] = {
    "FastGradientMethod": _Recipe(verbose=False),
    "BasicIterativeMethod": _Recipe(norms=("linf",), stride=1.25, parameters=("eps_step", "max_iter")),
    "ProjectedGradientDescent": _Recipe(stride=2.5, parameters=("decay", "eps_step", "max_iter")),
    "MomentumIterativeMethod": _Recipe(stride=1.0, parameters=("decay", "eps_step", "max_iter")),
    "SquareAttack": _Recipe(norms=("linf",), parameters=("max_iter", "nb_restarts", "p_init"), draws=True),
}
"""ART's attacks that need no classifier. APGD, C&W, DeepFool and HopSkipJump do."""


def random_start(images: Tensor, *, eps: float, generator: torch.Generator, norm: NormName = "linf") -> Tensor:
    """Return images moved by a random step of length eps, from which an attack of ART may spend the rest of a budget.

    ART refuses random starts for anything but classifiers, and projects around the images it is given. A start within
    eps/2 followed by an attack within eps/2 stays within eps of the clean images; with ``FastGradientMethod`` that is
    ``trustseg.attacks.r_fgsm``. In ``"linf"`` it is eps times the sign of normal noise, in ``"l2"`` a point of the
    sphere.
    """
    geometry = find_norm(norm)
    if norm == "l2":
        return geometry.start(images, images.new_full((len(images), 1, 1, 1), eps), generator)
    return (images + eps * gaussian(images, generator).sign()).clamp(0, 1)


def run_art(
    name: str,
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: int | None = None,
    generator: torch.Generator | None = None,
    parameters: Options,
) -> Tensor:
    """Return images attacked by an attack of ART, under the contract of ``trustseg.attacks``.

    The result of ART is projected onto ball and box, and per image the more harmful of clean and attacked is kept.

    Args:
        name: a key of ``ART_ATTACKS``, the class in ``art.attacks.evasion``.
        steps: ART's ``max_iter``, >= 1; by default 10, of ``SquareAttack`` 1000.
        generator: source of random numbers; mandatory for ``SquareAttack`` and for ``random_start``.
        parameters: of ART's class, such as ``eps_step`` (pixel units); by default steps add up to 1.25 eps
            (``BasicIterativeMethod``), 2.5 eps (``ProjectedGradientDescent``) or eps (``MomentumIterativeMethod``). And
            ``random_start``, ours: the share of eps in [0, 1) that is spent on a random step before.
    """
    if name not in ART_ATTACKS:
        raise unknown_name("attack of the Adversarial Robustness Toolbox", name, ART_ATTACKS)
    geometry = find_norm(norm)
    options = dict(parameters)
    if steps is not None:
        options["max_iter"] = steps
    share = _checked_share(name, norm, options, generator)
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=True, largest=geometry.largest)
        search.offer(search.images, progress=0.0)
        if eps > 0:
            start = search.images
            if generator is not None and share > 0:
                start = random_start(start, eps=share * eps, generator=generator, norm=norm)
            shape = (images.shape[1], images.shape[2], images.shape[3])
            estimator = Segmentation(model, input_shape=shape, objective=objective, device=images.device)
            with _numpy_seeded(generator):
                attacked = _generate(name, estimator, start, search.masks, (1 - share) * eps, norm, options)
            search.offer(geometry.project(attacked.to(start), search.images, search.radius), progress=0.0)
        return search.result(search.images)


def _checked_share(name: str, norm: NormName, options: dict[str, Value], generator: torch.Generator | None) -> float:
    """Take ``random_start`` out of the options and return it, having checked that the attack can run like this."""
    recipe = ART_ATTACKS[name]
    share = options.pop("random_start", 0.0)
    if isinstance(share, str | bool) or not 0 <= share < 1:
        raise AttackError(f"random_start must be a share of eps in [0, 1), got {share!r}; 0.5 spends half at random")
    for option in options:
        if option not in recipe.parameters:
            raise unknown_name(f"parameter of {name}", option, [*recipe.parameters, "random_start"])
    steps = options.get("max_iter", 1)
    if not isinstance(steps, int) or steps < 1:
        raise AttackError(f"the steps (max_iter) of {name} must be at least 1, got {steps!r}; use 10")
    if norm not in recipe.norms:
        raise AttackError(f"{name} keeps a budget in linf only, got norm={norm!r}; use ProjectedGradientDescent")
    if generator is None and (recipe.draws or share > 0):
        require_generator(generator, f"{name} starts at random here")
    return share


def _generate(
    name: str, estimator: Segmentation, start: Tensor, masks: Tensor, eps: float, norm: NormName, options: Options
) -> Tensor:
    recipe = ART_ATTACKS[name]
    # All images at once: MomentumIterativeMethod breaks on several batches.
    arguments: dict[str, Any] = {"eps": eps, "batch_size": len(start)}
    if recipe.verbose:
        arguments["verbose"] = False
    if len(recipe.norms) > 1:
        arguments["norm"] = np.inf if norm == "linf" else 2
    if recipe.stride:
        arguments["max_iter"] = options.get("max_iter", 10)
        arguments["eps_step"] = recipe.stride * eps / arguments["max_iter"]
    if name == "SquareAttack":
        arguments["max_iter"] = 1000
        arguments["loss"] = lambda x, y: -estimator.compute_loss(x, y)  # ART minimises it
        arguments["adv_criterion"] = lambda predicted, y: np.zeros(len(y), dtype=bool)  # go on until the end
    try:
        attack = getattr(evasion, name)(estimator, **{**arguments, **options})
        attacked = attack.generate(start.cpu().numpy(), masks.cpu().numpy())
    except TrustsegError:
        raise
    except (TypeError, ValueError) as error:
        raise AttackError(
            f"the Adversarial Robustness Toolbox refused {name} with {dict(options)} on images {tuple(start.shape)} "
            f"({error}); change the parameters"
        ) from error
    return torch.from_numpy(attacked)


@contextmanager
def _numpy_seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Seed the global states that ART draws from, and leave them as found."""
    before = np.random.get_state(), random.getstate()
    if generator is not None:
        seed = int(torch.randint(2**32, (), generator=generator, device=generator.device))
        np.random.seed(seed)
        random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
