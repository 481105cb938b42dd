"""The loss that segmentation models are trained with, and the schedules of its penalty."""

import math
from collections.abc import Callable, Mapping
from typing import Final, Literal

from torch import Tensor

from trustseg.beliefs import Belief
from trustseg.entries import call
from trustseg.errors import ConfigError, unknown_name
from trustseg.losses.balance import Balance
from trustseg.losses.contract import losses_of
from trustseg.losses.evidential import kl_to_uniform
from trustseg.losses.vacuity import vacuity_correction

__all__ = ["SCHEDULES", "Schedule", "annealed", "segmentation_loss"]


def segmentation_loss(
    belief: Belief,
    masks: Tensor,
    *,
    data_term: str,
    kl_weight: float = 0.0,
    vacuity_weight: float = 0.0,
    region: str = "soft_dice",
    region_weight: float = 1.0,
    balance: Balance = "none",
) -> Tensor:
    """Return the training loss of each image, >= 0 unless ``vacuity_weight`` is above 0.

    loss = data_term + kl_weight kl_to_uniform + vacuity_weight vacuity_correction + region_weight region. A term of
    weight 0 is not computed, so that a Bernoulli model trains with ``kl_weight=0``.

    Args:
        data_term: a loss of the role ``data``, with options if need be.
        kl_weight: weight of ``kl_to_uniform`` in this epoch, >= 0; see ``annealed``. Above 0 needs a Beta of prior
            weight 1.
        vacuity_weight: weight of ``vacuity_correction``, >= 0. Above 0 needs a Beta.
        region: a loss of the role ``region``, with options if need be.
        region_weight: its weight, >= 0.
        balance: how data term and divergence average the pixels of an image; a region is balanced by itself.

    Raises:
        UnknownNameError: if there is no loss ``data_term`` or ``region`` of that role.

    Example:
        >>> import torch
        >>> from trustseg.beliefs import Beta
        >>> ones = torch.ones(1, 1, 1, 1)
        >>> segmentation_loss(Beta(ones, ones), ones, data_term="bayes_risk_cross_entropy", kl_weight=0.1)
        tensor([1.2000])

    Reference:
        Sensoy, section 4, equation 5 and the annealed regulariser.
        Deviation: plus Dice of the mean probability, for the few foreground pixels of a lesion.
    """
    weights = {"kl_weight": kl_weight, "vacuity_weight": vacuity_weight, "region_weight": region_weight}
    for name, weight in weights.items():
        if not weight >= 0:
            raise ConfigError(f"{name} must be at least 0, got {weight}; use 0 to leave the term out")
    loss = call(losses_of("data"), data_term, kind="data term")(belief, masks, balance=balance)
    if kl_weight > 0:
        loss = loss + kl_weight * kl_to_uniform(belief, masks, balance=balance)
    if vacuity_weight > 0:
        loss = loss + vacuity_weight * vacuity_correction(belief, masks, balance=balance)
    if region_weight > 0:
        loss = loss + region_weight * call(losses_of("region"), region, kind="region loss")(belief, masks)
    return loss


def _linear(maximum: float, progress: float) -> float:
    """Return maximum min(1, progress)."""
    return maximum * min(1.0, progress)


def _cosine(maximum: float, progress: float) -> float:
    """Return half a cosine from 0 to ``maximum``."""
    return maximum * (1 - math.cos(math.pi * min(1.0, progress))) / 2


def _capped(maximum: float, progress: float) -> float:
    """Return min(maximum, progress)."""
    return min(maximum, progress)


Schedule = Literal["linear", "cosine", "capped"]
SCHEDULES: Final[Mapping[Schedule, Callable[[float, float], float]]] = {
    "linear": _linear,
    "cosine": _cosine,
    "capped": _capped,
}


def annealed(maximum: float, *, epoch: int, epochs: int, schedule: Schedule = "linear") -> float:
    """Return the weight of a term that grows from 0 to its maximum and stays there.

    With t = epoch / epochs: linear = maximum min(1, t); cosine = maximum (1 - cos(pi min(1, t))) / 2, which starts and
    ends without a kink; capped = min(maximum, t), whose slope does not depend on the maximum, so that a small maximum
    is reached early.

    Args:
        maximum: final weight, any unit.
        epoch: epoch counted from 0.
        epochs: epochs of growth, for ``capped`` up to the weight 1; 0 gives ``maximum`` at once.
        schedule: a name in ``SCHEDULES``.

    Raises:
        UnknownNameError: if ``schedule`` is not in ``SCHEDULES``.
        ConfigError: if ``epoch`` or ``epochs`` is negative.

    Example:
        >>> [annealed(0.1, epoch=epoch, epochs=10) for epoch in (0, 5, 10, 99)]
        [0.0, 0.05, 0.1, 0.1]
        >>> [annealed(0.2, epoch=epoch, epochs=10, schedule="capped") for epoch in (0, 1, 2, 3)]
        [0.0, 0.1, 0.2, 0.2]

    Reference:
        Sensoy, section 4: lambda_t = min(1, t / 10), here with a maximum. Capped, with maximum 0.2 and 200 epochs:
        min(0.2, 0.005 epoch), the schedule of EV-AT, arXiv:2607.03075.
    """
    if schedule not in SCHEDULES:
        raise unknown_name("schedule", schedule, SCHEDULES)
    if epoch < 0 or epochs < 0:
        raise ConfigError(f"epoch and epochs must be at least 0, got {epoch} and {epochs}; count epochs from 0")
    return SCHEDULES[schedule](maximum, epoch / epochs if epochs else math.inf)
