"""Make the contact sheet that docs/shifts.md shows: one phantom under every shift at every severity.

Run: python scripts/shift_sheet.py [PATH]; the default is docs/images/shifts.png beside this folder.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from contours import contour
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trustseg.data.phantom import phantom
from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFT_TABLE, shift

SIZE, SEED, PATIENT, COLUMNS, LABEL, GAP = 80, 2, 5, 2, 15, 6
# The sheet is a palette image: few greys, because noise does not compress, and one colour for contours.
GREYS, CONTOUR = 15, 15
MARGIN = 2
WIDTH = 5 * (SIZE + MARGIN) - MARGIN


def palette() -> bytes:
    """Return the colours of the sheet."""
    grey = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    colours: NDArray[np.uint8] = np.rint(np.concatenate([grey, [[255, 90, 0]]])).astype(np.uint8)
    return colours.tobytes()


def tile(image: Tensor, mask: Tensor | None) -> NDArray[np.uint8]:
    """Return an image (1, H, W) as palette indices, with the contour of its mask if there is one."""
    indices: NDArray[np.uint8] = np.rint(image[0].numpy() * (GREYS - 1)).astype(np.uint8)
    if mask is not None:
        indices = np.where(contour(mask[0].numpy() > 0), np.uint8(CONTOUR), indices)
    return indices


def strip(label: str, tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return tiles side by side below their label, filled up with white."""
    sheet = Image.new("P", (WIDTH, LABEL + SIZE), GREYS - 1)
    sheet.putpalette(palette())
    pen = ImageDraw.Draw(sheet)
    pen.fontmode = "1"
    pen.text((1, 1), label, fill=0, font=ImageFont.load_default(12))
    for place, indices in enumerate(tiles):
        sheet.paste(Image.fromarray(indices), (place * (SIZE + MARGIN), LABEL))
    return np.pad(np.asarray(sheet), ((0, GAP), (0, GAP)), constant_values=GREYS - 1)


def main() -> None:
    """Write the sheet."""
    default = Path(__file__).parents[1] / "docs" / "images" / "shifts.png"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    made = phantom(SEED, PATIENT, 1, size=SIZE)
    image = torch.from_numpy(made.image)[None, None].float() / 255
    mask = torch.from_numpy(made.mask)[None, None].float()
    strips = [strip("clean, without and with its mask", [tile(image[0], None), tile(image[0], mask[0])])]
    for name, parameters in SHIFT_TABLE.items():
        tiles = []
        for severity in range(1, 6):
            shifted, moved = shift(name, image, mask, severity, torch.Generator().manual_seed(SEED))
            tiles.append(tile(shifted[0], moved[0] if name in GEOMETRIC_SHIFTS else None))
        strips.append(strip(f"{name}  {'  '.join(f'{value:g}' for value in parameters)}", tiles))
    rows = [np.concatenate(strips[start : start + COLUMNS], axis=1) for start in range(0, len(strips), COLUMNS)]
    sheet = Image.fromarray(np.concatenate(rows)[:-GAP, :-GAP])
    sheet.putpalette(palette())
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True, bits=4)


if __name__ == "__main__":
    main()
