"""One module from raw images to everything that ``trustseg predict`` says of them; what is exported is its graph."""

import math
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trustseg.entries import call
from trustseg.evaluation.frames import at_size
from trustseg.export.description import Description, Input
from trustseg.models import BeliefModel
from trustseg.uncertainty import AGGREGATIONS, MEASURES

__all__ = ["OUTPUTS", "Pipeline", "as_input", "centred", "resampling", "review"]

OUTPUTS: Final = ("mask", "probability", "uncertainty", "score", "review")
"""What a file returns, in this order; ``review`` only where a policy was exported with the model."""

_LUMA: Final = (19595.0, 38470.0, 7471.0)  # of trustseg.data.intensity: Pillow's weights, in units of 1 / 65536


def as_input(images: NDArray[np.uint8], kind: Input) -> NDArray[Any]:
    """Return images in the type that a file takes."""
    return images if kind == "uint8" else images.astype(np.float32) / 255


class Pipeline(nn.Module):
    """Raw images of any size in; mask, probability, uncertainty, score and review out.

    It computes what ``trustseg.evaluation.predict`` does, from the same functions; only the resize is written anew,
    because a graph has to build its weights from the size of the image. Without a policy there is no ``review``.
    """

    channels: Tensor
    luma: Tensor

    def __init__(self, model: BeliefModel, about: Description) -> None:
        super().__init__()
        self.model = model
        self.about = about
        # Which channels are red, green and blue of an image of 0 to 3 channels. 2 channels, or more than 3, point to a
        # channel or row that does not exist, so that the graph fails and guesses nothing.
        self.register_buffer("channels", torch.tensor([[9, 9, 9], [0, 0, 0], [9, 9, 9], [0, 1, 2]]), persistent=False)
        self.register_buffer("luma", torch.tensor(_LUMA).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the results for images (B, C, H, W), C = 1 or 3.

        Returns:
            ``mask`` (B, 1, H, W) uint8 in {0, 1}; ``probability`` (B, 1, H, W) in [0, 1]; ``uncertainty``
            (B, 1, H, W) in the unit of the measure; ``score`` (B,), higher = less sure; ``review`` (B,) bool.
        """
        height, width = image.shape[-2:]
        size, fit = self.model.spec.size, self.about.fit
        top, left, rows, columns = (0, 0, size, size) if fit == "squash" else centred(height, width, size=size)
        along_rows, row_sum = resampling(height, rows, start=top, size=size)
        along_columns, column_sum = resampling(width, columns, start=left, size=size)
        total = along_rows @ self._levels(image).double() @ along_columns.T
        squares = torch.round(total / (row_sum * column_sum)).float() / 255
        belief = self.model.belief(squares)
        maps = torch.cat([belief.probability, MEASURES[self.about.measure](belief)], dim=1)
        if fit == "pad":  # not by slices, which would bind the graph to the shapes it was traced with
            maps = maps.index_select(-2, torch.arange(rows) + top).index_select(-1, torch.arange(columns) + left)
        probability, uncertainty = maps[:, :1], maps[:, 1:]
        score = call(AGGREGATIONS, self.about.aggregation, kind="aggregation")(uncertainty, probability)
        probability = at_size(probability, (height, width))
        outputs = {
            "mask": (probability > 0.5).to(torch.uint8),
            "probability": probability,
            "uncertainty": at_size(uncertainty, (height, width)),
            "score": score,
        }
        if (policy := self.about.policy) is not None:
            outputs["review"] = review(score, float(policy["threshold"]))
        return outputs

    def _levels(self, image: Tensor) -> Tensor:
        """Return whole grey levels 0 to 255 (B, 1 or 3, H, W), as ``trustseg.data.intensity.render`` does."""
        levels = image.index_select(1, self.channels[image.shape[1]])
        if self.about.input == "float32":
            levels = torch.round(levels.double().clamp(0, 1) * 255)
        levels = levels.float()
        if self.model.spec.channels == 3:
            return levels
        return ((levels * self.luma).sum(dim=1, keepdim=True) + 32768).div(65536).floor()  # exact: below 2^24


def review(score: Tensor, threshold: float) -> Tensor:
    """Return which images go to a human, as ``Policy.review``; a NaN score always does."""
    if threshold == -math.inf:
        return torch.ones_like(score, dtype=torch.bool)
    return ~(score.double() <= threshold)


def centred(height: int, width: int, *, size: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of an image that is padded to a square, as ``image_area`` does.

    Here and in ``resampling`` every length is in pixels, and may be symbolic.

    Example:
        >>> centred(100, 200, size=50)
        (12, 0, 25, 50)
    """
    longer = torch.sym_max(height, width)
    rows, columns = (torch.sym_max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
    return (size - rows) // 2, (size - columns) // 2, rows, columns  # type: ignore[return-value]  # symbols for ints


def resampling(length: int, inside: int, *, start: int, size: int) -> tuple[Tensor, Tensor]:
    """Return the resize of ``trustseg.data.resizing`` along one axis as a matrix, and the sum of each row.

    A graph learns the size of an image when it runs, so the weights are computed inside it: in float64, where every
    weight and every sum is a whole number below 2^53 and exact.

    Args:
        length: old pixels along the axis.
        inside: new pixels that the image covers.
        start: the first of them.
        size: new pixels, padding included.

    Returns:
        Weights of old pixels (size, length), float64, and their sum in each row that the image covers; others are 0.

    Example:
        >>> weights, total = resampling(4, 2, start=0, size=2)
        >>> (weights / total).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    new = torch.arange(size, dtype=torch.float64).unsqueeze(1) - start
    old = torch.arange(length, dtype=torch.float64).unsqueeze(0)
    one = torch.ones((), dtype=torch.float64)
    shrinks = one * inside <= length
    # On a line of length * inside units a new pixel is `length` long and an old one `inside`.
    overlaps = torch.minimum((new + 1) * length, (old + 1) * inside) - torch.maximum(new * length, old * inside)
    # In units of 1 / (2 inside) of an old pixel: between two centres linear, constant beyond the outer ones.
    unit = 2 * inside
    centres = torch.minimum(((2 * new + 1) * length - inside).clamp_min(0), one * (length - 1) * unit)
    between = unit - (centres - old * unit).abs()
    weights = torch.where(shrinks, overlaps, between).clamp_min(0)
    covered = (new >= 0) & (new < inside)
    return torch.where(covered, weights, 0.0), torch.where(shrinks, one * length, one * unit)
