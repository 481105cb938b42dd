"""Beliefs of a model about images as they are, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from trustseg.beliefs import Belief, check_belief
from trustseg.data import Pack
from trustseg.data.module import as_images, pack_loader
from trustseg.data.splits import Indices
from trustseg.models import BeliefModel

__all__ = ["beliefs_of"]


def beliefs_of(model: BeliefModel, pack: Pack, rows: Indices, *, batch_size: int) -> Iterator[tuple[Belief, Tensor]]:
    """Yield the belief about each batch of the given rows, and their reference masks.

    Args:
        model: a segmenter, a calibrated one, or a mixture, in eval mode on the CPU.
        pack: the images.
        rows: which of them, in this order.
        batch_size: images a batch.

    Yields:
        A belief without gradients, about masks (B, 1, H, W) float32 in {0, 1}.

    Raises:
        BeliefError: if the numbers of a belief cannot be such, for example NaN.
    """
    for batch in pack_loader(pack, rows, batch_size=batch_size):
        images, masks = as_images(batch)
        with torch.no_grad():
            belief = model.belief(images)
        check_belief(belief)
        yield belief, masks
