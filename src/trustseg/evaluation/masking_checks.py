"""Signs that a model only looks robust: named checks of the attacks that were run against it.

An attack that follows gradients fails on a model whose gradients say nothing, and its failure looks like robustness.
Each check of ``CHECKS`` compares things that must agree if the gradients are honest. A check that fails makes every
robustness number of the model untrustworthy.

Reference:
    Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, arXiv:1802.00420, section 3.1;
    Carlini et al., "On Evaluating Adversarial Robustness", arXiv:1902.06705, section 5. The thresholds are ours.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final

from torch import Tensor

from trustseg.attacks import Model
from trustseg.errors import DataError
from trustseg.evaluation import attack_checks, gradient_checks
from trustseg.evaluation.victim import SQUARE_QUERIES, MaskingCheck, Victim

__all__ = ["CHECKS", "PASSES", "masking_checks"]

CHECKS: Final[Mapping[str, Callable[[Victim], MaskingCheck]]] = {
    check.__name__: check
    for check in (
        gradient_checks.zero_gradients,
        attack_checks.rising_dice,
        attack_checks.unbounded_budget,
        attack_checks.more_steps,
        attack_checks.still_falling,
        attack_checks.restarts,
        attack_checks.noise,
        attack_checks.transfer,
        attack_checks.square,
        gradient_checks.finite_differences,
        attack_checks.rescaled_logits,
        attack_checks.saturated_loss,
        gradient_checks.repeated_forward,
        gradient_checks.attack_forward,
        gradient_checks.saturation,
        attack_checks.rounding,
    )
}


PASSES: Final = 1000
"""About how many passes forward and backward all checks take an image, Square's queries not counted."""


def masking_checks(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float = 2 / 255,
    seed: int = 0,
    surrogate: Model | None = None,
    square_steps: int = SQUARE_QUERIES,
    deployed: Model | None = None,
    only: Collection[str] = tuple(CHECKS),
    report: Callable[[int], None] | None = None,
) -> list[MaskingCheck]:
    """Return what every check of ``CHECKS`` finds on a few images.

    Costs about ``PASSES`` passes per image forward and backward, and ``square_steps`` forward.

    Args:
        model: any callable from images to a belief; it is left as found.
        images: 16 to 32 are enough.
        masks: only images with foreground count where Dice is compared.
        eps: L-inf budget in pixel units of [0, 1], in (0, 1].
        surrogate: another model to borrow adversarial images from; without one that check is not run.
        square_steps: queries of the Square attack; 0 leaves it out.
        deployed: the model as it predicts, where ``model`` is a faster form of it; ``model`` by default.
        only: names of the checks to make; all by default.

    Raises:
        DataError: if no mask has foreground.
        AttackError: if an attack cannot be run at all, e.g. on a model without a gradient.
    """
    victim = Victim(model, images, masks, eps, seed, surrogate, square_steps, deployed)
    if not bool(victim.positive.any()):
        raise DataError("all masks are empty, but the checks compare Dice; choose images with foreground")
    found = []
    for number, name in enumerate(name for name in CHECKS if name in only):
        found.append(replace(CHECKS[name](victim), name=name))
        if report is not None:
            report(number + 1)
    return found
