"""Images on which a threshold is exactly as wrong as the test wants."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from trustseg.beliefs import Bernoulli
from trustseg.data import Pack
from trustseg.reporting.series import Chart

SIZE, WIDTH = 32, 8


def pack_of_shifts(shifts: Sequence[int], *, controls: int = 0, masks: bool = True) -> Pack:
    """A bright band 8 pixels wide in each image, and a reference band ``shift`` pixels beside it: Dice 1 - shift / 8.

    Each image has a patient of its own; controls hold no band.
    """
    count = len(shifts) + controls
    images = np.full((count, 1, SIZE, SIZE), 51, np.uint8)
    reference = np.zeros((count, 1, SIZE, SIZE), np.uint8)
    for row, shift in enumerate(shifts):
        images[row, 0, :, 4 : 4 + WIDTH] = 204
        reference[row, 0, :, 4 + shift : 4 + shift + WIDTH] = 1
    names = [f"case{row:02d}" for row in range(count)]
    is_control = [row >= len(shifts) for row in range(count)]
    if not masks:
        reference[:] = 255
    index = pl.DataFrame(
        {
            "name": names,
            "patient": [f"patient {name}" for name in names],
            "patient_known": [True] * count,
            "split": ["control" if each else "test" if masks else "unlabelled" for each in is_control],
            "has_mask": [masks and not each for each in is_control],
            "foreground": [int((part == 1).sum()) if masks else None for part in reference],
            "width": [SIZE] * count,
            "height": [SIZE] * count,
            "sha256_pixels": names,
            "content_group": names,
            "group_site": ["north" if row % 2 else "south" for row in range(count)],
        },
        schema_overrides={"foreground": pl.Int64},
    )
    return Pack(images, reference, index, SIZE, 1, "folder", digest=f"{list(shifts)} {controls} {masks}")


class Threshold(nn.Module):
    """Marks pixels brighter than 1/2: exactly the bright band."""

    size, channels, name = SIZE, 1, "threshold <b>bold</b>"

    def forward(self, images: Tensor) -> Bernoulli:
        return Bernoulli((images - 0.5) * 10)


class Relative(Threshold):
    """Marks pixels brighter than the mean of the batch."""

    def forward(self, images: Tensor) -> Bernoulli:
        return Bernoulli(images - images.mean() - 0.01)


def maps_of(pack: Pack) -> dict[str, NDArray[np.float32]]:
    """The threshold's probabilities as predictions."""
    with torch.no_grad():
        belief = Threshold()(torch.from_numpy(np.array(pack.images)).float() / 255)
    return dict(zip(pack.index["name"].to_list(), belief.probability[:, 0].numpy(), strict=True))


def a_dot(chart: Chart, folder: Path) -> bytes:
    """A picture of one pixel instead of a figure, which takes seconds to draw."""
    dot = io.BytesIO()
    Image.new("L", (1, 1)).save(dot, format="PNG")
    return dot.getvalue()
