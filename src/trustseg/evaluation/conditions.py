"""The conditions a model is measured under: clean images, attacks at a ladder of budgets, shifts, other populations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor

from trustseg.attacks import Model, evaluation_attacks
from trustseg.beliefs import Belief
from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.data.resizing import Area
from trustseg.entries import slug
from trustseg.errors import AttackError, ConfigError
from trustseg.evaluation.frames import image_scores, region_of
from trustseg.shifts import GEOMETRIC_SHIFTS, shift_and_share
from trustseg.uncertainty import MEASURES

__all__ = [
    "CLEAN",
    "TOLERANCE",
    "Condition",
    "Deployed",
    "PerturbedBatch",
    "attack_budgets",
    "conditions_of",
    "perturb",
    "perturbation_size",
]

BEYOND: Final = 1e9  # no score is larger: stands for the infinite threshold of a policy that reviews none, or all
TOLERANCE: Final = 1e-6  # float32 rounding of x + eps, relative where eps > 1


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        name: ``"clean"``, the attack's label, the shift with its severity, or the population's name; unique together
            with ``eps``.
        eps: budget in pixel units of [0, 1]; 0 where nothing attacks.
        attack: how the images are attacked, if they are.
        shift: the natural shift, if there is one.
        severity: its severity, 1 to 5; 0 without a shift.
        population: the folder of other images, if these are measured.
    """

    name: str
    eps: float = 0.0
    attack: AttackConfig | None = None
    shift: str | None = None
    severity: int = 0
    population: str | None = None

    @property
    def kind(self) -> Literal["clean", "attack", "shift", "population"]:
        """Return what happens to the images."""
        if self.attack is not None:
            return "attack"
        if self.shift is not None:
            return "shift"
        return "clean" if self.population is None else "population"

    @property
    def carries(self) -> bool:
        """Return whether what was found at a smaller budget is a candidate here: the curve then never rises."""
        return (
            self.attack is not None
            and self.attack.toolbox is None
            and evaluation_attacks()[self.attack.name].facts.carries
        )

    @property
    def stacks(self) -> bool:
        """Return whether several budgets of this attack can share a batch: each image has a budget of its own."""
        return self.attack is not None and self.attack.toolbox is None and not self.carries

    @property
    def slug(self) -> str:
        """Return a file name."""
        return f"{self.name}_{self.eps:.6f}".replace(".", "p")


CLEAN: Final = Condition("clean")


class PerturbedBatch(NamedTuple):
    """A batch under a condition.

    The masks are moved along by a geometric shift; ``covered`` is the share (B,) of each foreground that a shift hides.
    """

    images: Tensor
    masks: Tensor
    covered: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """What an attack on the uncertainty knows of the deployed model: its score, its policy, its clean Dice.

    Attributes:
        threshold: images above it go to a human.
        median_dice: median clean Dice, from which a prediction is a good one; of an empty mask one minus the share of
            pixels predicted.
    """

    measure: str
    aggregation: str
    threshold: float
    median_dice: float

    def score(self, belief: Belief, *, areas: Sequence[Area] | None = None) -> Tensor:
        """Return the score (B,) by which cases are deferred."""
        return image_scores(self.aggregation, MEASURES[self.measure](belief), belief.probability, areas)


def conditions_of(config: EvaluationConfig) -> list[Condition]:
    """Return the conditions of an evaluation: clean, attacks, shifts, other populations.

    Budgets (above 0) and severities rise. The configuration sees to it that no two have the same name and budget.
    """
    attacked = [
        Condition(attack.label, eps, attack) for attack in config.attacks for eps in sorted(attack.eps) if eps > 0
    ]
    shifted = [
        Condition(f"{_label(name)}_{severity}", shift=name, severity=severity)
        for name in config.shift_names
        for severity in sorted(config.severities)
    ]
    others = [Condition(name, population=path) for name, path in config.populations.items()]
    return [CLEAN, *attacked, *shifted, *others]


def _label(shift: str) -> str:
    """Return the name of a shift in the names of conditions; that of an operator of nrtk has its parameters."""
    return slug(shift.replace(":", "_").replace("[", "").replace("]", ""))


def perturb(
    model: Model,
    images: Tensor,
    masks: Tensor,
    condition: Condition,
    *,
    generator: torch.Generator,
    deployed: Deployed | None = None,
    candidates: Sequence[Tensor] = (),
    areas: Sequence[Area] | None = None,
) -> PerturbedBatch:
    """Return the images under ``condition`` and their masks; what an attack returns is measured, never trusted.

    Padding is changed by nothing but a geometric shift.

    Args:
        generator: source of random starts and fields.
        deployed: score and threshold that attacks on the uncertainty aim at.
        candidates: images found at smaller budgets, for conditions that carry them on.

    Raises:
        AttackError: if the attack left its ball, [0, 1], the real numbers, or the shape of the images.
        ConfigError: if an attack on the uncertainty has no deployed policy to aim at.
    """
    if condition.attack is not None:
        (changed,) = attack_budgets(
            model,
            images,
            masks,
            [condition],
            generator=generator,
            deployed=deployed,
            candidates=candidates,
            areas=areas,
        )
        return changed
    if condition.shift is None:
        return PerturbedBatch(images, masks)
    changed = PerturbedBatch(*shift_and_share(condition.shift, images, masks, condition.severity, generator))
    region = region_of(areas, images)
    moves = condition.shift in GEOMETRIC_SHIFTS  # into the padding, and out of it
    return changed if region is None or moves else changed._replace(images=changed.images.where(region, images))


def attack_budgets(
    model: Model,
    images: Tensor,
    masks: Tensor,
    conditions: Sequence[Condition],
    *,
    generator: torch.Generator,
    deployed: Deployed | None = None,
    candidates: Sequence[Tensor] = (),
    areas: Sequence[Area] | None = None,
) -> list[PerturbedBatch]:
    """Return the images under several budgets of one attack, found in one batch: a few images do not fill a GPU.

    All else is as in ``perturb``.

    Args:
        conditions: one budget of any attack, or several of one that ``stacks``.
    """
    config, count, region = conditions[0].attack, len(conditions), region_of(areas, images)
    if config is None:
        raise AttackError(f"the condition '{conditions[0].name}' is not an attack")
    eps: float | Tensor = conditions[0].eps
    if count > 1:
        eps = torch.tensor([each.eps for each in conditions], device=images.device).repeat_interleave(len(images))
    # The toolbox takes one budget for all pixels; what it does to padding is taken back.
    if region is not None and config.toolbox is None:
        eps = torch.as_tensor(eps, device=images.device).view(-1, 1, 1, 1) * region.repeat(count, 1, 1, 1)
    attack = _with_options(config, deployed, candidates, None if areas is None else [*areas] * count)
    repeated = (part.repeat(count, 1, 1, 1) for part in (images, masks))
    adversarial = attack(model, *repeated, eps=eps, generator=generator)
    changed = []
    for part, each in zip(adversarial.chunk(count), conditions, strict=True):
        kept = part if region is None or config.toolbox is None else torch.where(region, part, images)
        changed.append(PerturbedBatch(_require_budget(kept, images, each), masks))
    return changed


def _require_budget(attacked: Tensor, images: Tensor, condition: Condition) -> Tensor:
    """Return what an attack made of the images, in [0, 1]; raise if it does not keep its budget."""
    if attacked.shape != images.shape:
        raise AttackError(
            f"the attack '{condition.name}' returned images of shape {tuple(attacked.shape)}, "
            f"expected {tuple(images.shape)}; its results are void"
        )
    norm = (condition.attack.norm if condition.attack else None) or "linf"
    farthest = perturbation_size(attacked - images, norm=norm).max() - condition.eps
    excess = torch.stack([farthest, -attacked.min().double(), attacked.max().double() - 1]).max().item()
    if not excess <= TOLERANCE * max(1, condition.eps):
        raise AttackError(
            f"the attack '{condition.name}' exceeded its budget eps={condition.eps:.6f} by {excess:.2e} "
            f"(tolerance {TOLERANCE:.0e}); its results are void"
        )
    return attacked.clamp(0, 1)


def _with_options(
    config: AttackConfig, deployed: Deployed | None, candidates: Sequence[Tensor], areas: Sequence[Area] | None
) -> Callable[..., Tensor]:
    if config.toolbox is not None:
        from trustseg.art import run_art

        return partial(run_art, config.toolbox, parameters=config.parameters, **config.options)
    attack = evaluation_attacks()[config.name]
    if attack.takes("score") and deployed is None:
        raise ConfigError(
            f"the attack {config.name} needs a deferral policy, fitted on validation images; give some, or remove it"
        )
    known_options: dict[str, Any] = {"candidates": candidates}
    if deployed is not None:
        known_options |= {
            "score": partial(deployed.score, areas=areas),
            "median_dice": deployed.median_dice,
            "threshold": min(max(deployed.threshold, -BEYOND), BEYOND),
        }
    filled = {name: value for name, value in known_options.items() if name in attack.given and attack.takes(name)}
    objective = {"objective": config.objective} if config.objective else {}
    return partial(attack, **filled, **objective, **attack.checked(config.own_options, name=config.name))


def perturbation_size(change: Tensor, *, norm: str) -> Tensor:
    """Return the L-inf or L2 norm of each image's change (B, C, H, W), (B,) float64."""
    flat = change.flatten(1).double()
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
