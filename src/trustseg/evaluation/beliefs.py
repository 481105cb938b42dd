"""Beliefs of a model about images as they are, batch by batch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from trustseg.beliefs import Belief, Mixture, check_belief, mapped
from trustseg.data import Pack
from trustseg.data.batches import as_images, pack_loader
from trustseg.data.splits import Indices
from trustseg.models import BeliefModel
from trustseg.progress import ProgressCallback
from trustseg.uncertainty import MEASURES, require_given

__all__ = ["beliefs_of", "uncertainty_of"]


def beliefs_of(
    model: BeliefModel,
    pack: Pack,
    rows: Indices,
    *,
    batch_size: int,
    device: str = "cpu",
    report: ProgressCallback | None = None,
) -> Iterator[tuple[Belief, Tensor]]:
    """Yield the belief about each batch of the given rows, and their reference masks, without gradients, on the CPU.

    Args:
        model: in eval mode.
        rows: which images, in this order.
    """
    model, done = model.to(device), 0
    for batch in pack_loader(pack, rows, batch_size=batch_size):
        images, masks = as_images(batch)
        with torch.no_grad():
            belief = _on_cpu(model.belief(images.to(device)))
        check_belief(belief)
        yield belief, masks
        done += len(masks)
        if report is not None:
            report(done, len(rows))


def uncertainty_of(belief: Belief, measure: str, *, head: str) -> Tensor:
    """Return the uncertainty (B, 1, H, W) of a belief; a BeliefError if a model of this head has no such measure."""
    require_given(measure, type(belief), head=head)
    return MEASURES[measure](belief)


def _on_cpu(belief: Belief) -> Belief:
    if isinstance(belief, Mixture):
        return Mixture([mapped(member, Tensor.cpu) for member in belief.members])
    return mapped(belief, Tensor.cpu)
