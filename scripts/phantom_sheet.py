"""Make the contact sheet of phantoms that docs/phantoms.md shows: images, contours of the masks, ambiguity.

Run: python scripts/phantom_sheet.py [PATH]; the default is docs/images/phantoms.png beside this folder.
"""

import sys
from pathlib import Path

import numpy as np
from contours import contour
from numpy.typing import NDArray
from PIL import Image

from trustseg.data.phantom import Phantom, phantom

COLUMNS, BANDS, SIZE, SEED = 7, 2, 128, 2
# The sheet is a palette image: greys, one colour for contours, then black over red and yellow to white for ambiguity.
GREYS, CONTOUR, HEATS = 160, 160, 95


def palette() -> bytes:
    """Return the 256 colours of the sheet."""
    grey = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    heat = 255 * np.clip(2.5 * np.linspace(0, 1, HEATS)[:, None] - [0, 0.8, 1.5], 0, 1)
    colours: NDArray[np.uint8] = np.rint(np.concatenate([grey, [[255, 90, 0]], heat])).astype(np.uint8)
    return colours.tobytes()


def column(made: Phantom) -> NDArray[np.uint8]:
    """Return image, image with contour and ambiguity of one phantom, one below the other, as palette indices."""
    plain = np.rint(made.image * ((GREYS - 1) / 255))
    heat = CONTOUR + 1 + np.rint(made.ambiguity * ((HEATS - 1) / 255))
    return np.concatenate([plain, np.where(contour(made.mask), CONTOUR, plain), heat]).astype(np.uint8)


def main() -> None:
    """Write the sheet."""
    default = Path(__file__).parents[1] / "docs" / "images" / "phantoms.png"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    columns = [column(phantom(SEED, patient, 1, size=SIZE)) for patient in range(1, COLUMNS * BANDS + 1)]
    bands = [np.concatenate(columns[start : start + COLUMNS], axis=1) for start in range(0, len(columns), COLUMNS)]
    sheet = Image.fromarray(np.concatenate(bands))
    sheet.putpalette(palette())
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main()
