"""The part of its square that an image covers: the padding around it is no part of the image.

No attack may change it, no image score counts it, and no prediction of it is kept. Void pixels are another matter: only
the reference knows of them, so that a score, which has to do without, counts them.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from trustseg.data import Pack
from trustseg.data.resizing import Area
from trustseg.entries import call
from trustseg.metrics import dice
from trustseg.uncertainty import AGGREGATIONS

__all__ = [
    "COLUMNS",
    "areas_in",
    "at_size",
    "by_area",
    "frame_columns",
    "image_scores",
    "native_dice",
    "region_of",
    "to_native",
]

COLUMNS = ("top", "left", "rows", "columns")
"""Where the image of a case lies in its square; a table of cases without padding has none of them."""


def frame_columns(pack: Pack, rows: NDArray[np.int64]) -> pl.DataFrame:
    """Return where the images of some rows of a pack lie in their squares; no column if it has no padding."""
    if pack.fit == "squash":
        return pl.DataFrame()
    areas = [pack.area(int(row)) for row in rows]
    return pl.DataFrame(areas, schema=dict.fromkeys(COLUMNS, pl.Int64), orient="row")


def areas_in(cases: pl.DataFrame) -> list[Area] | None:
    """Return where the images of some cases lie in their squares; None if they fill them."""
    return [Area(*row) for row in cases.select(COLUMNS).iter_rows()] if "top" in cases.columns else None


def region_of(areas: Sequence[Area] | None, images: Tensor) -> Tensor | None:
    """Return which pixels (B, 1, H, W) are the images' own, bool on their device; None if all are."""
    if areas is None:
        return None
    region = torch.zeros(len(images), 1, *images.shape[-2:], dtype=torch.bool)
    for own, area in zip(region, areas, strict=True):
        own[(slice(None), *area.slices)] = True
    return region.to(images.device)


def image_scores(
    aggregation: str, uncertainty: Tensor, probability: Tensor, areas: Sequence[Area] | None = None
) -> Tensor:
    """Return the score (B,) of each image from its maps (B, 1, H, W), with their graph, however much it was padded."""
    return by_area(call(AGGREGATIONS, aggregation, kind="aggregation"), uncertainty, probability, areas=areas)


def by_area(function: Callable[..., Tensor], *maps: Tensor, areas: Sequence[Area] | None) -> Tensor:
    """Return what a function of maps (B, 1, H, W) gives (B,), of each image without its padding."""
    if areas is None:
        return function(*maps)
    found: dict[int, Tensor] = {}
    for area in dict.fromkeys(areas):  # images that were padded alike together
        rows = [row for row, each in enumerate(areas) if each == area]
        values = function(*(each[rows][(..., *area.slices)] for each in maps))
        found |= zip(rows, values, strict=True)
    return torch.stack([found[row] for row in range(len(areas))])


def at_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (B, 1, h, w) at another size (H, W); bilinear."""
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)


def to_native(maps: Tensor, size: tuple[int, int], area: Area | None = None) -> Tensor:
    """Return a map of one image (1, 1, S, S) at its own size (H, W), without padding, on the CPU; bilinear."""
    if area is not None:
        maps = maps[(..., *area.slices)]
    return at_size(maps, size)[0, 0].cpu()


def native_dice(probability: Tensor, mask: Tensor, area: Area | None = None) -> float:
    """Return the Dice of a prediction at the size of the image itself, as ``predict`` draws it; NaN where undefined.

    Args:
        probability: foreground probability of one image (1, 1, S, S).
        mask: its reference mask (H, W).
        area: where the image lies in its square; None if it fills it.
    """
    height, width = mask.shape
    predicted = to_native(probability, (height, width), area) > 0.5
    return float(dice(predicted[None, None], mask[None, None]))
