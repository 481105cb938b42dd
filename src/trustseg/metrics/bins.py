"""Bins of scores by the bit pattern of their float32 value. This module loads no torch.

In each octave (power of two) the top m mantissa bits are kept, m larger in the usual range of the measures. One scheme
serves every measure, no range has to be known beforehand, and the bin rises with the score.

    value in       [1/16, 2)   [2, 16)   [2^-10, 1/16)   [2^-40, 2^-10) and [16, 256)   elsewhere   below 2^-126
    fine bins m    14          13        12              10                             6           one bin
    coarse bins    each 64 fine bins in one (six mantissa bits fewer), below 2^-126 still one

Negative scores (differential entropy) mirror this: 2 * 179,137 = 358,274 fine and 2 * 2,800 = 5,600 coarse bins.
"""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "FIRST", "HALF", "MERGED", "SHIFT", "Resolution", "bin_values"]

Resolution = Literal["fine", "coarse"]

_OCTAVES: Final = np.arange(256)  # the exponent field of float32; 127 is the octave [1, 2)
_KEPT_BITS: Final = np.full(256, 6)
_KEPT_BITS[127 - 40 : 127 + 8] = 10
_KEPT_BITS[127 - 10 : 127 - 4] = 12
_KEPT_BITS[127 + 1 : 127 + 4] = 13
_KEPT_BITS[127 - 4 : 127 + 1] = 14
_BINS_OF_OCTAVE: Final = np.where(_OCTAVES == 0, 1, 1 << _KEPT_BITS)

SHIFT: Final = np.where(_OCTAVES == 0, 23, 23 - _KEPT_BITS).astype(np.int32)
"""Mantissa bits that are dropped in each octave."""

FIRST: Final = (_BINS_OF_OCTAVE.cumsum() - _BINS_OF_OCTAVE).astype(np.int32)
"""First fine bin of each octave, counted from zero up."""

MERGED: Final = 64
"""Fine bins in a coarse one."""

HALF: Final[Mapping[Resolution, int]] = {"fine": 179_137, "coarse": 2_800}
"""Bins from zero up; as many below mirror them."""

BINS: Final[Mapping[Resolution, int]] = {name: 2 * half for name, half in HALF.items()}


def bin_values(resolution: Resolution = "fine") -> NDArray[np.float32]:
    """Return the middle of each bin, to label and draw histograms, non-decreasing (BINS[resolution],).

    It is 0 for the two bins around zero and infinite in the last octave.

    Example:
        >>> bin_values("coarse")[[2800, 4263]].tolist()
        [0.0, 0.25048828125]
    """
    size = np.arange(HALF[resolution])
    merged = 1 if resolution == "fine" else MERGED
    fine = np.where(size == 0, 0, (size - 1) * merged + 1)
    octave = np.searchsorted(FIRST, fine, side="right") - 1
    shift = SHIFT.astype(np.int64)[octave]
    bits = (octave << 23) + ((fine - FIRST[octave]) << shift) + ((merged << shift) >> 1)
    values = bits.astype(np.int32).view(np.float32)
    values = np.where(octave == 255, np.inf, np.where(octave == 0, 0.0, values)).astype(np.float32)
    return np.concatenate([0.0 - values[::-1], values])
