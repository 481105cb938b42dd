"""Our models as estimators of the Adversarial Robustness Toolbox (ART), whose attacks expect classifiers.

A mask is no class: ART's classifiers attack an all-ones mask where none is given, and divide a given one by its sum.
``Segmentation`` is an estimator for masks, on which ART's gradient attacks run unchanged; ``run_art`` runs one of them
under the contract of ``trustseg.attacks``. Needs the extra ``art``.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trustseg.attacks import Model, isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import NormName, find_norm, gaussian
from trustseg.attacks.search import Search
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, MissingPackageError, ShapeError, TrustsegError, unknown_name

try:
    from art.attacks import evasion
    from art.estimators import BaseEstimator, LossGradientsMixin, NeuralNetworkMixin
except ImportError as error:
    raise MissingPackageError(
        "the Adversarial Robustness Toolbox is not installed, expected it for its attacks; "
        "run: pip install 'trustseg[art]'"
    ) from error

__all__ = ["ART_ATTACKS", "Segmentation", "bernoulli_model", "random_start", "run_art"]

Array = NDArray[Any]


def bernoulli_model(module: nn.Module) -> Model:
    """Return a model that reads the one logit per pixel of ``module`` as a Bernoulli belief.

    Args:
        module: maps images (B, C, H, W) in [0, 1] to logits (B, 1, H, W), normalisation inside.

    Raises:
        ShapeError: when called, if ``module`` returns anything but one map an image.

    Example:
        >>> model = bernoulli_model(nn.Conv2d(1, 1, 3, padding=1))
        >>> model(torch.zeros(2, 1, 5, 5)).probability.shape
        torch.Size([2, 1, 5, 5])
    """
    return partial(_bernoulli, module)  # attacks find the module in a partial and put it into eval mode


def _bernoulli(module: nn.Module, images: Tensor) -> Belief:
    logits = module(images)
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != 1:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ShapeError(
            f"the module must return logits (B, 1, H, W), got {got}; "
            "pick the map of the infection, of two classes the difference of their logits"
        )
    return Bernoulli(logits)


class Segmentation(LossGradientsMixin, NeuralNetworkMixin, BaseEstimator):  # type: ignore[misc]  # ART has no types
    """A segmentation model as ART sees it: images in [0, 1], binary masks, an objective to increase.

    Gradients are taken of the images only, in float32 and eval mode; the model is left as found. ART knows no progress,
    so objectives that weigh by it see 0 throughout.

    Args:
        model: any callable from images to a belief, such as a ``Segmenter``.
        input_shape: (C, H, W).
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
        device: where the model is.

    Example:
        >>> segmentation = Segmentation.of_logits(nn.Conv2d(1, 1, 3, padding=1), input_shape=(1, 8, 8))
        >>> images, masks = np.full((2, 1, 8, 8), 0.5, np.float32), np.ones((2, 1, 8, 8), np.float32)
        >>> attacked = evasion.FastGradientMethod(segmentation, eps=4 / 255).generate(images, masks)
        >>> float(abs(attacked - images).max()) < 4.001 / 255
        True

    Reference:
        Nicolae et al., "Adversarial Robustness Toolbox v1.0.0", 2018, arXiv:1807.01069.
    """

    estimator_params = BaseEstimator.estimator_params + NeuralNetworkMixin.estimator_params

    def __init__(
        self,
        model: Model,
        *,
        input_shape: tuple[int, int, int],
        objective: str | Objective = "cross_entropy",
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(model=model, clip_values=(0.0, 1.0), channels_first=True, preprocessing=None)
        self._input_shape = input_shape
        self._objective = objective
        self._device = torch.device(device)

    @staticmethod
    def of_logits(
        module: nn.Module,
        *,
        input_shape: tuple[int, int, int],
        objective: str | Objective = "cross_entropy",
        device: torch.device | str = "cpu",
    ) -> "Segmentation":
        """Return an estimator of any module with one logit a pixel; see ``bernoulli_model``."""
        return Segmentation(bernoulli_model(module), input_shape=input_shape, objective=objective, device=device)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        return self._input_shape

    def predict(self, x: Array, batch_size: int = 128, **_: object) -> NDArray[np.float32]:
        """Return infection probabilities (N, 1, H, W) float32 of images ``x`` (N, C, H, W) in [0, 1]."""
        with isolated(self.model), torch.no_grad():
            batches = torch.split(self._images(x), batch_size)
            return np.concatenate([self.model(batch).probability.float().cpu().numpy() for batch in batches])

    def loss_gradient(self, x: Array, y: Array | None, **_: object) -> NDArray[np.float32]:
        """Return the gradient (N, C, H, W) of the objective of images ``x`` and reference masks ``y`` (N, 1, H, W).

        Raises:
            AttackError: if ``y`` is None, ``x`` leaves [0, 1] or the model gives no finite gradient.
            ShapeError: if shapes do not fit or ``y`` holds anything but 0 and 1.
        """
        with isolated(self.model):
            search = self._search(x, y)
            gradient: NDArray[np.float32] = search.result(search.gradient(search.images, progress=0.0)).cpu().numpy()
        return gradient

    def compute_loss(self, x: Array, y: Array | None, **_: object) -> NDArray[np.float32]:
        """Return the objective (N,) of images ``x`` (N, C, H, W) and reference masks ``y`` (N, 1, H, W).

        Raises:
            AttackError: if ``y`` is None, ``x`` leaves [0, 1] or the objective is not finite.
            ShapeError: if shapes do not fit or ``y`` holds anything but 0 and 1.
        """
        with isolated(self.model):
            search = self._search(x, y)
            values: NDArray[np.float32] = search.result(search.value(search.images, progress=0.0)).cpu().numpy()
        return values

    def fit(self, x: Array, y: Array, **_: object) -> None:
        """Raise: a model is trained by trustseg."""
        raise AttackError("an estimator of ART cannot train a model here, expected a trained one; run: trustseg train")

    def get_activations(self, x: Array, layer: int | str, batch_size: int, framework: bool = False) -> Array:
        """Raise: a belief has no layers."""
        raise AttackError(
            "an attack asked for the activations of a layer, which a belief does not have; "
            f"use one that needs gradients or queries only: {', '.join(ART_ATTACKS)}"
        )

    def _images(self, x: Array) -> Tensor:
        """Return ``x`` as float32 on the device; ART's projection leaves [0, 1] by rounding, which is put right."""
        images = torch.as_tensor(np.asarray(x, dtype=np.float32), device=self._device)
        inside = images.clamp(0, 1)
        return inside if (images - inside).abs().max() <= 1e-6 else images

    def _search(self, x: Array, y: Array | None) -> Search:
        """Return a checked search at ``x``; its model has to be isolated by the caller."""
        if y is None:
            raise AttackError("y is None, expected reference masks (N, 1, H, W) of 0 and 1; pass generate(x, masks)")
        masks = torch.as_tensor(np.asarray(y, dtype=np.float32))
        return Search(self.model, self._images(x), masks, eps=0.0, objective=self._objective, keep_best=False)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How an attack of ART is called here.

    Attributes:
        norms: budgets it can keep.
        stride: length of its steps by default, times eps / steps; 0 for an attack without steps.
        parameters: what may be set beside eps, norm and steps.
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
    """Return images moved by a random step, from which an attack of ART with the rest of the budget may start.

    ART refuses random starts for anything but classifiers, and projects around the images it is given. A start within
    eps/2 followed by an attack within eps/2 stays within eps of the clean images; with ``FastGradientMethod`` that is
    R+FGSM.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        eps: length of the step in pixel units of [0, 1], >= 0.
        generator: source of the step.
        norm: ``"linf"``, eps times the sign of normal noise as in R+FGSM, or ``"l2"``, a point of the sphere.

    Returns:
        (B, C, H, W) float32 within eps of ``images`` and within [0, 1].

    Raises:
        UnknownNameError: if no norm has that name.

    Reference:
        Tramer et al., "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, arXiv:1705.07204, equation 4.
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
    parameters: Mapping[str, bool | int | float | str],
) -> Tensor:
    """Return images attacked by an attack of ART, under the contract of ``trustseg.attacks``.

    What ART returns is projected onto ball and box, and per image the more harmful of clean and attacked is kept.

    Args:
        name: a key of ``ART_ATTACKS``, the class in ``art.attacks.evasion``.
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: budget in pixel units of [0, 1], >= 0, measured in ``norm``.
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
        norm: ``"linf"`` or ``"l2"``.
        steps: ART's ``max_iter``, >= 1; by default 10, of ``SquareAttack`` 1000.
        generator: source of random numbers; mandatory for ``SquareAttack`` and for ``random_start``.
        parameters: of ART's class, such as ``eps_step`` (pixel units); by default steps add up to 1.25 eps
            (``BasicIterativeMethod``), 2.5 eps (``ProjectedGradientDescent``) or eps (``MomentumIterativeMethod``).
            And ``random_start``, ours: the share of eps in [0, 1) that is spent on a random step before.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if ART refuses the parameters, a generator is missing, ``images`` leave [0, 1], ``eps`` is
            negative, or the model gives no finite gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no attack, parameter, norm or objective has that name.

    Reference:
        Nicolae et al., "Adversarial Robustness Toolbox v1.0.0", 2018, arXiv:1807.01069.
    """
    if name not in ART_ATTACKS:
        raise unknown_name("attack of the Adversarial Robustness Toolbox", name, ART_ATTACKS)
    geometry = find_norm(norm)
    options: dict[str, bool | int | float | str] = dict(parameters)
    if steps is not None:
        options["max_iter"] = steps
    share = _checked_share(name, norm, options, generator)
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=True)
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


def _checked_share(
    name: str, norm: NormName, options: dict[str, bool | int | float | str], generator: torch.Generator | None
) -> float:
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
        raise AttackError(
            f"{name} starts at random here, but generator is None, expected a torch.Generator; "
            "pass generator=torch.Generator().manual_seed(0)"
        )
    return share


def _generate(
    name: str,
    estimator: Segmentation,
    start: Tensor,
    masks: Tensor,
    eps: float,
    norm: NormName,
    options: Mapping[str, bool | int | float | str],
) -> Tensor:
    """Return what ART's attack makes of ``start``."""
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
        arguments["loss"] = lambda x, y: -estimator.compute_loss(x, y)  # what it lowers
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
