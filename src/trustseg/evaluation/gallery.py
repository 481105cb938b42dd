"""A few cases kept as pictures, so that a report can show what the numbers mean."""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from trustseg.attacks import ATTACKS
from trustseg.config import EvaluationConfig
from trustseg.data import Pack
from trustseg.data.batches import PackRows, as_images
from trustseg.evaluation.conditions import Condition, conditions_of, perturb
from trustseg.evaluation.frames import areas_in, frame_columns
from trustseg.files import replacing
from trustseg.masks import filled
from trustseg.metrics import dice
from trustseg.models import BeliefModel
from trustseg.randomness import derived_generator
from trustseg.uncertainty import MEASURES

__all__ = ["DECOMPOSITION", "gallery_rows", "write_gallery"]

DECOMPOSITION: Final = ("variance", "aleatoric_variance", "epistemic_variance")
"""The total variance and its two parts, kept of models that tell them apart."""


def gallery_rows(pack: Pack, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return ``count`` of the rows, or all, evenly spread over foreground size: the same for every model of a split."""
    areas = pack.index["foreground"].to_numpy()[rows]
    order = rows[np.lexsort((rows, areas))]
    places = np.linspace(0, len(order) - 1, num=min(count, len(order))).round().astype(np.int64)
    return order[places]


def write_gallery(
    model: BeliefModel,
    pack: Pack,
    rows: NDArray[np.int64],
    config: EvaluationConfig,
    path: Path,
    *,
    eps: float,
    measure: str,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Write images, predictions and uncertainties of a few cases, clean and attacked, to an npz file.

    Of a model whose belief has them, total, aleatoric and epistemic variance come along.

    Args:
        rows: candidates; ``config.gallery`` of those with a reference are taken.
        config: the last of its attacks that is in ``ATTACKS`` is shown.
        path: the npz file.
        eps: the budget shown is the one of the attack that is nearest to this, in pixel units of [0, 1].
    """
    condition = _shown(config, eps)
    has_reference = pack.index.select(pl.col("has_mask") | (pl.col("split") == "control")).to_series().to_numpy()
    chosen = gallery_rows(pack, rows[has_reference[rows]], config.gallery)
    if condition is None or not len(chosen):
        return
    model = model.eval().to(device)
    images, masks = (part.to(device) for part in as_images(PackRows(pack, chosen).__getitems__(range(len(chosen)))))
    areas, generator = areas_in(frame_columns(pack, chosen)), derived_generator(seed, "gallery")
    attacked = perturb(model, images, masks, condition, generator=generator, areas=areas).images
    with torch.no_grad():
        before, after = model.belief(images), model.belief(attacked)

    def plane(values: torch.Tensor, kind: type[np.generic]) -> NDArray[np.generic]:
        return values.mean(dim=1).cpu().numpy().astype(kind)

    parts = DECOMPOSITION if set(DECOMPOSITION) <= set(before.measures) else ()
    maps = {
        prefix + name: plane(belief.uncertainty(name), np.float16)
        for prefix, belief in (("", before), ("adversarial_", after))
        for name in parts
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            name=np.array(pack.index["name"].gather(chosen.tolist()).to_list()),
            condition=np.array(condition.name),
            eps=np.array(condition.eps),
            measure=np.array(measure),
            image=plane((images * 255).mean(dim=1, keepdim=True).round(), np.uint8),
            mask=plane(filled(masks), np.uint8),
            probability=plane(before.probability, np.float16),
            uncertainty=plane(MEASURES[measure](before), np.float16),
            adversarial=plane(attacked, np.float16),
            adversarial_probability=plane(after.probability, np.float16),
            adversarial_uncertainty=plane(MEASURES[measure](after), np.float16),
            dice=dice(before.log_odds > 0, masks).cpu().numpy(),
            adversarial_dice=dice(after.log_odds > 0, masks).cpu().numpy(),
            **maps,  # type: ignore[arg-type]  # the stub takes the arrays for the option allow_pickle
        )


def _shown(config: EvaluationConfig, eps: float) -> Condition | None:
    """Return the condition of the last gradient attack of the list whose budget is nearest to ``eps``."""
    followed = [attack for attack in config.attacks if attack.name in ATTACKS]
    shown = [condition for condition in conditions_of(config) if followed and condition.attack is followed[-1]]
    return min(shown, key=lambda condition: abs(condition.eps - eps), default=None)
