"""The loss that segmentation models are trained with, and the schedules of its penalty."""

import math
from typing import Final, Literal, get_args

from torch import Tensor

from trustseg.beliefs import Belief
from trustseg.entries import call
from trustseg.errors import ConfigError, unknown_name
from trustseg.losses.balance import Balance, require_weights
from trustseg.losses.contract import losses_of
from trustseg.losses.evidential import kl_to_uniform, vacuity_correction

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
    weight 0 is not computed. Data term and penalties share the ``balance``; a region is balanced by itself.

    Args:
        data_term: a loss of the role ``data``, with options if need be.
        kl_weight: >= 0, see ``annealed``. Above 0 needs a Beta of prior weight 1.
        vacuity_weight: >= 0. Above 0 needs a Beta.
        region: a loss of the role ``region``, with options if need be.
        region_weight: its weight, >= 0.

    Raises:
        UnknownNameError: if there is no loss ``data_term`` or ``region`` of that role.

    Reference:
        Sensoy, section 4, equation 5 and the annealed regulariser.
        Deviation: plus Dice of the mean probability, for the few foreground pixels of an image.
    """
    require_weights(kl_weight=kl_weight, vacuity_weight=vacuity_weight, region_weight=region_weight)
    loss = call(losses_of("data"), data_term, kind="data term")(belief, masks, balance=balance)
    if kl_weight > 0:
        loss = loss + kl_weight * kl_to_uniform(belief, masks, balance=balance)
    if vacuity_weight > 0:
        loss = loss + vacuity_weight * vacuity_correction(belief, masks, balance=balance)
    if region_weight > 0:
        loss = loss + region_weight * call(losses_of("region"), region, kind="region loss")(belief, masks)
    return loss


Schedule = Literal["linear", "cosine", "capped"]
SCHEDULES: Final[tuple[Schedule, ...]] = get_args(Schedule)


def annealed(maximum: float, *, epoch: int, epochs: int, schedule: Schedule = "linear") -> float:
    """Return the weight of a term that grows from 0 to its maximum and stays there.

    With t = epoch / epochs: linear = maximum min(1, t); cosine = maximum (1 - cos(pi min(1, t))) / 2, which starts and
    ends without a kink; capped = min(maximum, t), whose slope does not depend on the maximum.

    Args:
        maximum: final weight, any unit.
        epoch: counted from 0.
        epochs: epochs of growth, for ``capped`` up to the weight 1; 0 gives ``maximum`` at once.
        schedule: a name in ``SCHEDULES``.

    Raises:
        UnknownNameError: if ``schedule`` is not in ``SCHEDULES``.
        ConfigError: if ``epoch`` or ``epochs`` is negative.

    Example:
        >>> [annealed(0.1, epoch=epoch, epochs=10) for epoch in (0, 5, 10, 99)]
        [0.0, 0.05, 0.1, 0.1]

    Reference:
        Sensoy, section 4: lambda_t = min(1, t / 10), here with a maximum. Capped, with maximum 0.2 and 200 epochs:
        min(0.2, 0.005 epoch), the schedule of EV-AT, arXiv:2607.03075.
    """
    if schedule not in SCHEDULES:
        raise unknown_name("schedule", schedule, SCHEDULES)
    if epoch < 0 or epochs < 0:
        raise ConfigError(f"epoch and epochs must be at least 0, got {epoch} and {epochs}; count epochs from 0")
    progress = epoch / epochs if epochs else math.inf
    if schedule == "capped":
        return min(maximum, progress)
    if schedule == "cosine":
        return maximum * (1 - math.cos(math.pi * min(1.0, progress))) / 2
    return maximum * min(1.0, progress)
