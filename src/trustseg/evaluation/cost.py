"""The cost of a prediction, measured with its quality."""

import time
from statistics import median
from typing import Final

import torch
from torch import Tensor

from trustseg.models import BeliefModel

__all__ = ["cost_of"]

REPEATS: Final = 3


def cost_of(model: BeliefModel, images: Tensor) -> dict[str, int | float | str]:
    """Return what one clean prediction costs on this machine, now.

    Args:
        model: in eval mode, on the device of ``images``.
        images: (B, C, H, W) in [0, 1], predicted as one batch.

    Returns:
        ``passes`` (forward passes of a network an image), ``seconds_per_image`` (median of 3 batches, after one that
        is not counted), ``timed_batch_size`` (B), ``timed_on`` (the device) and ``timed_threads`` (of torch).
    """
    return {
        "passes": model.passes,
        "seconds_per_image": median([_seconds(model, images) for _ in range(1 + REPEATS)][1:]) / len(images),
        "timed_batch_size": len(images),
        "timed_on": torch.cuda.get_device_name(images.device) if images.is_cuda else "cpu",
        "timed_threads": torch.get_num_threads(),
    }


def _seconds(model: BeliefModel, images: Tensor) -> float:
    """Return the time of one batch; copying the result back waits for the device."""
    start = time.perf_counter()
    with torch.no_grad():
        model.belief(images).probability.cpu()
    return time.perf_counter() - start
