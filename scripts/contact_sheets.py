"""Make the contact sheets of the docs: phantoms with contours and ambiguity, and one phantom under every shift.

Run: python scripts/contact_sheets.py [FOLDER]; writes phantoms.png and shifts.png, by default into docs/images.
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trustseg.data.phantom import Phantom, phantom
from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFT_TABLE, shift

Pixels = NDArray[np.uint8]

SEED, ORANGE = 2, [[255, 90, 0]]  # the colour of contours
# The sheet of phantoms is a palette image: greys, contours, then black over red and yellow to white for ambiguity.
PHANTOMS, PHANTOMS_PER_BAND, PHANTOM_SIZE, PHANTOM_GREYS, HEATS = 14, 7, 128, 160, 95
# So is that of shifts, of few greys, because noise does not compress.
SHIFT_SIZE, SHIFT_GREYS, PATIENT, COLUMNS, LABEL, GAP, MARGIN = 80, 15, 5, 3, 15, 6, 2
SEVERITIES: Final = (1, 3, 5)
WIDTH: Final = len(SEVERITIES) * (SHIFT_SIZE + MARGIN) - MARGIN


def palette(greys: int, *more: NDArray[np.float64]) -> bytes:
    """Return the colours of a sheet: greys, the colour of contours, and others."""
    grey = np.repeat(np.linspace(0, 255, greys)[:, None], 3, axis=1)
    colours: Pixels = np.rint(np.concatenate([grey, ORANGE, *more])).astype(np.uint8)
    return colours.tobytes()


def contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask (H, W) that touch its outside or the border of the image."""
    wide = np.pad(mask, 1)
    inner: NDArray[np.bool_] = wide[2:, 1:-1] & wide[:-2, 1:-1] & wide[1:-1, 2:] & wide[1:-1, :-2]
    return mask & ~inner


def phantom_column(made: Phantom) -> Pixels:
    """Return image, image with contour and ambiguity of one phantom, one below the other, as palette indices."""
    plain = np.rint(made.image * ((PHANTOM_GREYS - 1) / 255))
    heat = PHANTOM_GREYS + 1 + np.rint(made.ambiguity * ((HEATS - 1) / 255))
    return np.concatenate([plain, np.where(contour(made.mask), PHANTOM_GREYS, plain), heat]).astype(np.uint8)


def phantom_sheet() -> Image.Image:
    """Return the sheet of phantoms."""
    columns = [phantom_column(phantom(SEED, patient, 1, size=PHANTOM_SIZE)) for patient in range(1, PHANTOMS + 1)]
    starts = range(0, PHANTOMS, PHANTOMS_PER_BAND)
    bands = [np.concatenate(columns[start : start + PHANTOMS_PER_BAND], axis=1) for start in starts]
    sheet = Image.fromarray(np.concatenate(bands))
    heat = 255 * np.clip(2.5 * np.linspace(0, 1, HEATS)[:, None] - [0, 0.8, 1.5], 0, 1)
    sheet.putpalette(palette(PHANTOM_GREYS, heat))
    return sheet


def shift_tile(image: Tensor, mask: Tensor | None) -> Pixels:
    """Return an image (1, H, W) as palette indices, with the contour of its mask if there is one."""
    indices: Pixels = np.rint(image[0].numpy() * (SHIFT_GREYS - 1)).astype(np.uint8)
    if mask is not None:
        indices = np.where(contour(mask[0].numpy() > 0), np.uint8(SHIFT_GREYS), indices)
    return indices


def shift_strip(label: str, tiles: list[Pixels]) -> Pixels:
    """Return tiles side by side below their label, filled up with white."""
    sheet = Image.new("P", (WIDTH, LABEL + SHIFT_SIZE), SHIFT_GREYS - 1)
    sheet.putpalette(palette(SHIFT_GREYS))
    pen = ImageDraw.Draw(sheet)
    pen.fontmode = "1"
    pen.text((1, 1), label, fill=0, font=ImageFont.load_default(12))
    for place, indices in enumerate(tiles):
        sheet.paste(Image.fromarray(indices), (place * (SHIFT_SIZE + MARGIN), LABEL))
    return np.pad(np.asarray(sheet), ((0, GAP), (0, GAP)), constant_values=SHIFT_GREYS - 1)


def shift_sheet() -> Image.Image:
    """Return the sheet of one phantom under every shift at some severities."""
    made = phantom(SEED, PATIENT, 1, size=SHIFT_SIZE)
    image = torch.from_numpy(made.image)[None, None].float() / 255
    mask = torch.from_numpy(made.mask)[None, None].float()
    clean = [shift_tile(image[0], None), shift_tile(image[0], mask[0])]
    strips = [shift_strip("clean, without and with its mask", clean)]
    for name, parameters in SHIFT_TABLE.items():
        tiles = []
        for severity in SEVERITIES:
            shifted, moved = shift(name, image, mask, severity, torch.Generator().manual_seed(SEED))
            tiles.append(shift_tile(shifted[0], moved[0] if name in GEOMETRIC_SHIFTS else None))
        shown = "  ".join(f"{parameters[severity - 1]:g}" for severity in SEVERITIES)
        strips.append(shift_strip(f"{name}  {shown}", tiles))
    rows = [np.concatenate(strips[start : start + COLUMNS], axis=1) for start in range(0, len(strips), COLUMNS)]
    sheet = Image.fromarray(np.concatenate(rows)[:-GAP, :-GAP])
    sheet.putpalette(palette(SHIFT_GREYS))
    return sheet


def main(folder: Path) -> None:
    """Write both sheets."""
    folder.mkdir(parents=True, exist_ok=True)
    phantom_sheet().save(folder / "phantoms.png", optimize=True)
    shift_sheet().save(folder / "shifts.png", optimize=True, bits=4)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images")
