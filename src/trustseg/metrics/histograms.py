"""Pixel rankings as histograms of fixed size: streamed, mergeable by adding, independent of order and of batches.

Each bin, see ``bins``, counts as one tie block of ``ranking``. Fine bins, 358,274, give the value to report: nAUSE
within about 1e-6 of sorting a million pixels. Coarse ones, 5,600, each a run of fine ones, are small enough to keep for
every patient and to bootstrap: within 5e-5, or 5e-4 where most scores are below 2^-10. Scores in one bin count as tied:
where all of them agree to four digits, as in an untrained model, only the exact functions of ``selective`` tell them
apart. ``resolution`` is ``"fine"`` or ``"coarse"``.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from trustseg.errors import ShapeError
from trustseg.masks import require_same_shape
from trustseg.metrics.bins import BINS, FIRST, HALF, MERGED, SHIFT, Resolution
from trustseg.metrics.tie_blocks import Blocks, checked_error

if TYPE_CHECKING:
    from torchmetrics import Metric  # takes seconds to load

__all__ = [
    "UNIT",
    "accumulate",
    "add_histograms",
    "error_histogram",
    "uncertainty_keys",
]

UNIT: Final = 1 << 30  # errors are summed as whole multiples of 2^-30: exact, so in any order
_CHUNK: Final = 1 << 22  # pixels binned at a time, to bound the memory


def uncertainty_keys(uncertainty: Tensor, *, resolution: Resolution = "fine") -> Tensor:
    """Return the bin of each score, read as float32, of the same shape, int32, non-decreasing in the score.

    Example:
        >>> uncertainty_keys(torch.tensor([-0.25, 0.0, 1e-50, 0.25, 0.2500001, 0.26]), resolution="coarse")
        tensor([1336, 2800, 2800, 4263, 4263, 4273], dtype=torch.int32)
    """
    scores = uncertainty.detach().float() + 0.0  # turns -0 into 0
    if bool(torch.isnan(scores).any()):
        raise ShapeError("uncertainty holds NaN, expected numbers or infinities; find where the model breaks down")
    bits = scores.contiguous().view(torch.int32)
    octave = ((bits >> 23) & 0xFF).flatten()
    first, shift = (table.index_select(0, octave).view_as(bits) for table in _tables_on(bits.device))
    size = first + ((bits & 0x7FFFFF) >> shift)
    if resolution == "coarse":
        size = (size + (MERGED - 1)) // MERGED
    half = HALF[resolution]
    return torch.where(bits < 0, half - 1 - size, half + size)


@cache
def _tables_on(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return first bin and shift of each octave on a device, copied there once."""
    return torch.from_numpy(FIRST).to(device), torch.from_numpy(SHIFT).to(device)


def error_histogram(uncertainty: Tensor, error: Tensor, *, resolution: Resolution = "fine") -> Blocks:
    """Return the errors binned by uncertainty; the same bits for any order of the items.

    Counts are int64, error sums exact to 2^-31 per item; histograms of disjoint pixels merge by adding both. Errors as
    bool (wrong or not) are exact and quickest. ``error_histogram(error, error)`` is the oracle of errors that are not 0
    or 1.

    Example:
        >>> histogram = error_histogram(torch.tensor([0.1, 0.1, 0.2]), torch.tensor([True, False, True]))
        >>> histogram.counts[histogram.counts > 0], histogram.error_sums[histogram.counts > 0]
        (tensor([2, 1]), tensor([1., 1.], dtype=torch.float64))
    """
    counts, units = accumulate(uncertainty, error, resolution=resolution)
    return Blocks(counts, units.double() / UNIT)


def add_histograms(metric: "Metric", *names: str) -> None:
    """Give a metric empty fine histograms of int64 as states, which processes merge by adding."""
    for name in names:
        metric.add_state(name, torch.zeros(BINS["fine"], dtype=torch.int64), dist_reduce_fx="sum")


def accumulate(uncertainty: Tensor, error: Tensor, *, resolution: Resolution = "fine") -> tuple[Tensor, Tensor]:
    """Return counts and error sums in units of 2^-30 by bin, both int64, so that adding them up is exact anywhere."""
    require_same_shape(uncertainty=uncertainty, error=error)
    bins = BINS[resolution]
    counts, units = (torch.zeros(bins, dtype=torch.int64, device=error.device) for _ in range(2))
    uncertainty, error = uncertainty.flatten(), error.flatten()
    for start in range(0, error.numel(), _CHUNK):
        scores, errors = uncertainty[start : start + _CHUNK], error[start : start + _CHUNK]
        keys = uncertainty_keys(scores, resolution=resolution)
        counts += torch.bincount(keys, minlength=bins)
        if errors.dtype == torch.bool:
            units += torch.bincount(keys[errors], minlength=bins) * UNIT
        else:
            units.index_add_(0, keys, torch.round(checked_error(errors) * UNIT).long())
    return counts, units
