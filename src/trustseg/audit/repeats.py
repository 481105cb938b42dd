"""Repeatability: does a model decide the same in other batches, orders, precisions and numbers of threads?"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trustseg.models import BeliefModel

__all__ = ["APPROXIMATE", "REPEATED", "REPEAT_PASSES", "repeats_of"]

APPROXIMATE: Final = ("half precision (bfloat16)", "input enlarged by a quarter and reduced again")
"""Ways of running that change the numbers on purpose; the others should change nothing."""
REPEATED: Final = 16  # images
REPEAT_PASSES: Final = 8 * REPEATED  # predictions of one image, in all


def repeats_of(model: BeliefModel, images: Tensor, names: list[str]) -> dict[str, dict[str, float]]:
    """Return way of running -> name of an image -> share of its pixels whose decision changes.

    Compared with a prediction of all images (B, C, H, W) in one batch are: the same again, one image at a time, the
    images in reversed order, and another number of threads; then half precision, where the model has weights, and
    images that were resampled.
    """

    def decided(batch: Tensor) -> Tensor:
        with torch.no_grad():
            return model.belief(batch).log_odds > 0

    def on_other_threads() -> Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(1 if before > 1 else 2)
        try:
            return decided(images)
        finally:
            torch.set_num_threads(before)

    def in_half_precision() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return decided(images)

    def resampled() -> Tensor:
        sides = tuple(images.shape[-2:])
        larger = interpolate(images, tuple(side * 5 // 4 for side in sides), mode="bilinear", antialias=True)
        return decided(interpolate(larger, sides, mode="bilinear", antialias=True).clamp(0, 1))

    usual = decided(images)
    ways: dict[str, Callable[[], Tensor]] = {
        "the same again": lambda: decided(images),
        "one image at a time": lambda: torch.cat([decided(image[None]) for image in images]),
        "reversed order": lambda: decided(images.flip(0)).flip(0),
        "another number of threads": on_other_threads,
    }
    if isinstance(model, nn.Module) and any(weight.is_floating_point() for weight in model.parameters()):
        ways |= {APPROXIMATE[0]: in_half_precision}
    ways |= {APPROXIMATE[1]: resampled}
    return {
        way: dict(zip(names, (run() != usual).flatten(1).double().mean(dim=1).tolist(), strict=True))
        for way, run in ways.items()
    }
