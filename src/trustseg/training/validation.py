"""Measurements of a validation, the one that chooses the epoch to keep, and the watch for catastrophic overfitting."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl
import torch
from torch import Tensor

from trustseg.attacks import fgsm, pgd
from trustseg.config import RunConfig
from trustseg.config.training import Monitor
from trustseg.data import Pack, Splits
from trustseg.data.splits import Indices
from trustseg.errors import DataError
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.training.grad_align import gradient_alignment

__all__ = [
    "OVERFITTING_GAP",
    "WATCHED_IMAGES",
    "measures_robustness",
    "monitor_of",
    "overfitted",
    "require_foreground",
    "shows_foreground",
    "validated",
    "validation_means",
    "watch",
]

WATCHED_IMAGES: Final = 64
OVERFITTING_GAP: Final = 0.15


def monitor_of(config: RunConfig) -> Monitor:
    """Return what chooses the epoch of a run: ``training.monitor``, of which ``both`` is ``clean`` without attacks."""
    monitor = config.training.monitor
    return "clean" if monitor == "both" and config.adversarial.selection == "none" else monitor


def measures_robustness(config: RunConfig) -> bool:
    """Return whether a run is validated under attack as well: if it trains on attacks, or is chosen by them."""
    return config.adversarial.selection != "none" or config.training.monitor == "robust"


def shows_foreground(index: pl.DataFrame, rows: Indices) -> bool:
    """Return whether any of these images of an index shows some; without, no Dice could choose an epoch."""
    return bool((index["foreground"].gather(rows.tolist()) > 0).any())


def validated(
    segmenter: Segmenter,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    steps: int | None,
    generator: torch.Generator,
    noise: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return per-image Dice, clean and under PGD: ``dice`` and ``robust_dice`` where attacked, NaN where undefined.

    Args:
        steps: of the attack; None: no attack.
        noise: what is added to the images (B, C, H, W) after the attack, which does not know of it.
    """
    conditions = {"dice": images}
    if steps is not None:
        conditions["robust_dice"] = pgd(segmenter, images, masks, eps=eps, steps=steps, generator=generator)
    seen = {name: shown if noise is None else shown + noise for name, shown in conditions.items()}
    return _dice(segmenter, masks, **seen)


def _dice(segmenter: Segmenter, masks: Tensor, **conditions: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return {name: dice(segmenter.belief(shown).log_odds > 0, masks) for name, shown in conditions.items()}


def validation_means(
    found: Sequence[Mapping[str, Tensor]], *, monitor: Monitor, gather: Callable[[Tensor], object] | None = None
) -> dict[str, Tensor]:
    """Return the means over images whose value is defined, and ``validation_score``, which chooses the best epoch.

    Each image counts once, however many processes measured it: the first ones are handed out twice where the images do
    not share out evenly.

    Args:
        found: of each batch, ``rows``, which images it holds (B,), and values of them (B,), or of the first of them.
        monitor: what the score is: Dice clean, under PGD, or the mean of those measured (``both`` and ``last``).
        gather: gives the tensors of all processes, (n,) -> (processes, n); None where there is but one.
    """
    mine = {name: torch.cat([batch[name] for batch in found if name in batch]) for name in found[0]}
    images = {
        name: values[None] if gather is None else torch.as_tensor(gather(values)) for name, values in mine.items()
    }
    rows = images.pop("rows")
    means = {f"validation_{name}": _mean(rows, values) for name, values in images.items()}
    chosen = {"clean": ["dice"], "robust": ["robust_dice"]}.get(monitor, ["dice", "robust_dice"])
    scores = [means[f"validation_{name}"] for name in chosen if f"validation_{name}" in means]
    means["validation_score"] = torch.stack(scores).mean()
    return means


def _mean(rows: Tensor, values: Tensor) -> Tensor:
    """Return the mean of what the first process that has an image measured of it; rows (P, n), values (P, m <= n)."""
    first: dict[int, int] = {}
    for place, row in enumerate(rows[:, : values.shape[1]].flatten().tolist()):
        first.setdefault(row, place)
    return values.flatten()[list(first.values())].nanmean()


def require_foreground(pack: Pack, splits: Splits) -> None:
    """Raise a DataError if the images to learn from show foreground, but none of it is left at the size of the pack."""
    learnt, lost = pack.index[splits.train], set(pack.lost)
    if lost.intersection(learnt["name"]) and not shows_foreground(pack.index, splits.train):
        raise DataError(
            f"the foreground of all training images vanishes at {pack.size}x{pack.size} pixels; set a larger data.size"
        )


def watch(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, eps: float | Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return how some images fare under one step of an attack and under two, at the full budget of the training.

    Returns:
        ``fgsm_dice`` and ``pgd2_dice``, the Dice under FGSM and under PGD of two steps, NaN where it is undefined, and
        ``gradient_alignment``; each (B,).
    """
    single = fgsm(segmenter, images, masks, eps=eps)
    double = pgd(segmenter, images, masks, eps=eps, steps=2, generator=generator)
    alignment = gradient_alignment(segmenter, images, masks, eps=eps, generator=generator)
    return _dice(segmenter, masks, fgsm_dice=single, pgd2_dice=double) | {"gradient_alignment": alignment}


def overfitted(single: float, double: float) -> bool:
    """Return whether mean Dice falls by more than 0.15 from one step of the attack to two; NaN is no sign of it.

    Reference:
        Wong et al., "Fast is better than free: Revisiting adversarial training", ICLR 2020, arXiv:2001.03994,
        on catastrophic overfitting; the bound is our own.
    """
    return single - double > OVERFITTING_GAP
