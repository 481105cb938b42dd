"""What a validation measures, and the one number of it that chooses the epoch to keep."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from trustseg.attacks import pgd
from trustseg.metrics import dice
from trustseg.models import Segmenter

__all__ = ["validated", "validation_means"]


def validated(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, eps: float, steps: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return per-image Dice, clean and under PGD.

    Args:
        segmenter: it is left as found.
        images: (B, C, H, W) in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-inf budget in pixel units of [0, 1].
        steps: of the attack.
        generator: source of its random start.

    Returns:
        ``dice`` and ``robust_dice``, each (B,) in [0, 1], NaN where it is undefined.
    """
    attacked = pgd(segmenter, images, masks, eps=eps, steps=steps, generator=generator)
    with torch.no_grad():
        return {
            "dice": dice(segmenter.belief(images).log_odds > 0, masks),
            "robust_dice": dice(segmenter.belief(attacked).log_odds > 0, masks),
        }


def validation_means(
    found: Sequence[Mapping[str, Tensor]],
    *,
    monitor: Literal["clean", "robust", "both", "last"],
    gather: Callable[[Tensor], object] | None = None,
) -> dict[str, Tensor]:
    """Return the means over images whose value is defined, and ``validation_score``, which chooses the best epoch.

    Each image counts once, however many processes measured it: the first ones are handed out twice where the images do
    not share out evenly.

    Args:
        found: of each batch, ``rows``, which images it holds (B,), and values of them (B,), or of the first of them.
        monitor: what the score is: Dice clean, under PGD, or the mean of the two (``both`` and ``last``).
        gather: gives the tensors of all processes, (n,) -> (processes, n); None where there is but one.

    Example:
        >>> dice = torch.tensor([0.5, torch.nan])
        >>> found = [{"rows": torch.tensor([4, 5]), "dice": dice, "robust_dice": dice / 2}]
        >>> {name: float(mean) for name, mean in validation_means(found, monitor="both").items()}
        {'validation_dice': 0.5, 'validation_robust_dice': 0.25, 'validation_score': 0.375}
    """
    mine = {name: torch.cat([batch[name] for batch in found if name in batch]) for name in found[0]}
    images = {
        name: values[None] if gather is None else torch.as_tensor(gather(values)) for name, values in mine.items()
    }
    rows = images.pop("rows")
    means = {f"validation_{name}": _mean(rows, values) for name, values in images.items()}
    clean, robust = means["validation_dice"], means["validation_robust_dice"]
    scores = {"clean": clean, "robust": robust, "both": (clean + robust) / 2}
    means["validation_score"] = scores["both" if monitor == "last" else monitor]
    return means


def _mean(rows: Tensor, values: Tensor) -> Tensor:
    """Return the mean of what the first process that has an image measured of it; rows (P, n), values (P, m <= n)."""
    first: dict[int, int] = {}
    for place, row in enumerate(rows[:, : values.shape[1]].flatten().tolist()):
        first.setdefault(row, place)
    return values.flatten()[list(first.values())].nanmean()
