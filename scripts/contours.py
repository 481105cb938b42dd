"""Contours of masks, as the contact sheets draw them."""

import numpy as np
from numpy.typing import NDArray


def contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask (H, W) that touch its outside or the border of the image."""
    wide = np.pad(mask, 1)
    inner: NDArray[np.bool_] = wide[2:, 1:-1] & wide[:-2, 1:-1] & wide[1:-1, 2:] & wide[1:-1, :-2]
    return mask & ~inner
