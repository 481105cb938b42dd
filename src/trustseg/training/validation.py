"""Measurements of a validation, and the one that chooses the epoch to keep."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from trustseg.attacks import pgd
from trustseg.config import RunConfig
from trustseg.data import Pack, Splits
from trustseg.data.splits import Indices
from trustseg.errors import DataError
from trustseg.metrics import dice
from trustseg.models import Segmenter

__all__ = [
    "Monitor",
    "measures_robustness",
    "monitor_of",
    "require_lesions",
    "shows_foreground",
    "validated",
    "validation_means",
]

Monitor = Literal["clean", "robust", "both", "last"]


def monitor_of(config: RunConfig) -> Monitor:
    """Return what chooses the epoch of a run: ``training.monitor``, of which ``both`` is ``clean`` without attacks.

    Example:
        >>> monitor_of(RunConfig()), monitor_of(RunConfig.model_validate({"adversarial": {"selection": "random"}}))
        ('clean', 'both')
    """
    monitor = config.training.monitor
    return "clean" if monitor == "both" and config.adversarial.selection == "none" else monitor


def measures_robustness(config: RunConfig) -> bool:
    """Return whether a run is validated under attack as well: if it trains on attacks, or is chosen by them."""
    return config.adversarial.selection != "none" or config.training.monitor == "robust"


def shows_foreground(index: pl.DataFrame, rows: Indices) -> bool:
    """Return whether any of these images shows some; without, no Dice is defined that could choose an epoch.

    Args:
        index: index of a pack.
        rows: the images.
    """
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
    """Return per-image Dice, clean and under PGD.

    Args:
        segmenter: it is left as found.
        images: (B, C, H, W) in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-inf budget in pixel units of [0, 1], one number or one per pixel (B, 1, H, W).
        steps: of the attack; None: no attack.
        generator: source of its random start.
        noise: what is added to the images (B, C, H, W) after the attack, which does not know of it.

    Returns:
        ``dice`` and, where attacked, ``robust_dice``, each (B,) in [0, 1], NaN where it is undefined.
    """
    conditions = {"dice": images}
    if steps is not None:
        conditions["robust_dice"] = pgd(segmenter, images, masks, eps=eps, steps=steps, generator=generator)
    with torch.no_grad():
        seen = {name: shown if noise is None else shown + noise for name, shown in conditions.items()}
        return {name: dice(segmenter.belief(shown).log_odds > 0, masks) for name, shown in seen.items()}


def validation_means(
    found: Sequence[Mapping[str, Tensor]],
    *,
    monitor: Monitor,
    gather: Callable[[Tensor], object] | None = None,
) -> dict[str, Tensor]:
    """Return the means over images whose value is defined, and ``validation_score``, which chooses the best epoch.

    Each image counts once, however many processes measured it: the first ones are handed out twice where the images do
    not share out evenly.

    Args:
        found: of each batch, ``rows``, which images it holds (B,), and values of them (B,), or of the first of them.
        monitor: what the score is: Dice clean, under PGD, or the mean of those measured (``both`` and ``last``).
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


def require_lesions(pack: Pack, splits: Splits) -> None:
    """Raise a DataError if the images to learn from show foreground, but none of it is left at the size of the pack."""
    learnt, lost = pack.index[splits.train], set(pack.lost)
    if lost.intersection(learnt["name"]) and not shows_foreground(pack.index, splits.train):
        raise DataError(
            f"the lesions of all training images vanish at {pack.size}x{pack.size} pixels; set a larger data.size"
        )
