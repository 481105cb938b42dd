"""Pixel rankings as histograms of fixed size: streamed, mergeable by adding, independent of order and of batches.

A score is binned by the bit pattern of its float32 value: in each octave (power of two) the top m mantissa bits are
kept, m larger where the measures live. One scheme serves every measure, no range has to be known beforehand, and the
key rises with the score. Each bin then counts as one tie block of ``selective``.

    value in       [1/16, 2)   [2, 16)   [2^-10, 1/16)   [2^-40, 2^-10) and [16, 256)   elsewhere   below 2^-126
    fine bins m    14          13        12              10                             6           one bin
    coarse bins    each 64 fine bins in one (six mantissa bits fewer), below 2^-126 still one

Negative scores (differential entropy) mirror this: 2 * 179,137 = 358,274 fine and 2 * 2,800 = 5,600 coarse bins.
Fine bins give the value to report: nAUSE within about 1e-6 of sorting a million pixels. Coarse ones are small enough
to keep for every patient and to bootstrap: within 5e-5, or 5e-4 where most scores are below 2^-10. Scores in one bin
count as tied: where all of them agree to four digits, as in an untrained model, only the exact functions of
``selective`` tell them apart.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from trustseg.errors import ShapeError
from trustseg.metrics.sparsification import SparsificationCurve, sparsification_from_blocks
from trustseg.metrics.tie_blocks import Blocks, RankScores, check_shapes, checked_error, scores_from_blocks

__all__ = [
    "BINS",
    "UNIT",
    "Histogram",
    "Resolution",
    "accumulate",
    "add_histograms",
    "bin_values",
    "coarsen",
    "error_histogram",
    "filled_blocks",
    "oracle_histogram",
    "scores_from_histogram",
    "sparsification_from_histogram",
    "uncertainty_keys",
]

Resolution = Literal["fine", "coarse"]

_OCTAVES: Final = torch.arange(256)  # the exponent field of float32; 127 is the octave [1, 2)
_KEPT_BITS: Final = torch.full((256,), 6)
_KEPT_BITS[127 - 40 : 127 + 8] = 10
_KEPT_BITS[127 - 10 : 127 - 4] = 12
_KEPT_BITS[127 + 1 : 127 + 4] = 13
_KEPT_BITS[127 - 4 : 127 + 1] = 14
_BINS_OF_OCTAVE: Final = torch.where(_OCTAVES == 0, 1, 1 << _KEPT_BITS)
_SHIFT: Final = torch.where(_OCTAVES == 0, 23, 23 - _KEPT_BITS).int()
_FIRST: Final = (_BINS_OF_OCTAVE.cumsum(0) - _BINS_OF_OCTAVE).int()
_MERGED: Final = 64  # fine bins in a coarse one
_HALF: Final[Mapping[Resolution, int]] = {"fine": 179_137, "coarse": 2_800}

BINS: Final[Mapping[Resolution, int]] = {name: 2 * half for name, half in _HALF.items()}

UNIT: Final = 1 << 30  # errors are summed as whole multiples of 2^-30: exact, so in any order
_CHUNK: Final = 1 << 22  # pixels binned at a time, to bound the memory


class Histogram(NamedTuple):
    """Scores binned with their errors; histograms of disjoint pixels merge by adding both fields.

    Attributes:
        counts: items a bin (bins,), int64.
        error_sums: total error of the items of each bin (bins,), float64, to 2^-31 an item.
    """

    counts: Tensor
    error_sums: Tensor


def uncertainty_keys(uncertainty: Tensor, *, resolution: Resolution = "fine") -> Tensor:
    """Return the histogram bin of each score, non-decreasing in the score.

    Args:
        uncertainty: any shape and real type; read as float32, may be infinite.
        resolution: ``"fine"`` (358,274 bins) or ``"coarse"`` (5,600 bins, each a run of fine ones).

    Returns:
        Bins of the same shape, int32 in [0, BINS[resolution]).

    Raises:
        ShapeError: if the uncertainty is NaN.

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
        size = (size + (_MERGED - 1)) // _MERGED
    half = _HALF[resolution]
    return torch.where(bits < 0, half - 1 - size, half + size)


@cache
def _tables_on(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return first bin and shift of each octave on a device, copied there once."""
    return _FIRST.to(device), _SHIFT.to(device)


def bin_values(resolution: Resolution = "fine") -> Tensor:
    """Return a value that stands for each bin, its middle, to label and draw histograms.

    Args:
        resolution: ``"fine"`` or ``"coarse"``.

    Returns:
        Non-decreasing float32 values (BINS[resolution],), 0 for the two bins around zero, infinite in the last octave.

    Example:
        >>> bin_values("coarse")[[2800, 4263]]
        tensor([0.0000, 0.2505])
    """
    size = torch.arange(_HALF[resolution])
    merged = 1 if resolution == "fine" else _MERGED
    fine = torch.where(size == 0, 0, (size - 1) * merged + 1)
    octave = torch.bucketize(fine, _FIRST, right=True) - 1
    shift = _SHIFT.long()[octave]
    bits = (octave << 23) + ((fine - _FIRST[octave]) << shift) + ((merged << shift) >> 1)
    values = bits.int().view(torch.float32)
    values = torch.where(octave == 255, torch.inf, torch.where(octave == 0, 0.0, values))
    return torch.cat([0.0 - values.flip(0), values])


def coarsen(fine: Tensor) -> Tensor:
    """Return fine histograms (..., 358274) merged into coarse ones (..., 5600), the same as binning coarsely.

    Raises:
        ShapeError: if the last dimension is not that of a fine histogram.
    """
    if fine.shape[-1] != BINS["fine"]:
        raise ShapeError(f"the histogram has {fine.shape[-1]} bins, expected {BINS['fine']}; bin with the fine keys")
    negative, positive = fine.chunk(2, dim=-1)
    return torch.cat([_merge(negative.flip(-1)).flip(-1), _merge(positive)], dim=-1)


def error_histogram(uncertainty: Tensor, error: Tensor, *, resolution: Resolution = "fine") -> Histogram:
    """Return the errors binned by uncertainty.

    Args:
        uncertainty: any shape and real type, higher = less sure; may be infinite.
        error: same shape, finite and >= 0; bool (wrong or not) is exact and quickest.
        resolution: ``"fine"`` or ``"coarse"``.

    Returns:
        Counts and error sums, each (BINS[resolution],); the same bits for any order of the items.

    Raises:
        ShapeError: if the shapes differ, the uncertainty is NaN, or an error is NaN, infinite or negative.

    Example:
        >>> histogram = error_histogram(torch.tensor([0.1, 0.1, 0.2]), torch.tensor([True, False, True]))
        >>> histogram.counts[histogram.counts > 0], histogram.error_sums[histogram.counts > 0]
        (tensor([2, 1]), tensor([1., 1.], dtype=torch.float64))
    """
    counts, units = accumulate(uncertainty, error, resolution=resolution)
    return Histogram(counts, units.double() / UNIT)


def oracle_histogram(error: Tensor, *, resolution: Resolution = "fine") -> Histogram:
    """Return the errors binned by the error itself: what ``scores_from_histogram`` needs for errors other than 0 and 1.

    Args:
        error: any shape, finite and >= 0.
        resolution: ``"fine"`` or ``"coarse"``.

    Returns:
        Counts and error sums, each (BINS[resolution],).

    Raises:
        ShapeError: if an error is NaN, infinite or negative.
    """
    return error_histogram(error, error, resolution=resolution)


def scores_from_histogram(
    counts: Tensor, error_sums: Tensor, *, oracle: tuple[Tensor, Tensor] | None = None
) -> RankScores:
    """Return the scores of the ranking that histograms hold, each bin one tie block.

    Args:
        counts: items a bin (..., bins), bins in rising order of uncertainty.
        error_sums: total error of each bin (..., bins).
        oracle: counts and error sums (..., L) of ``oracle_histogram`` for the same items; None if every error is 0 or
            1, where the oracle follows from the number of errors.

    Returns:
        Scores of the leading shape (a scalar for one histogram, (D,) for D bootstrap draws), float64.

    Raises:
        ShapeError: if the shapes differ, or a bin has more errors than items although ``oracle`` is None.

    Example:
        >>> scores = scores_from_histogram(torch.tensor([4, 3, 1]), torch.tensor([1, 1, 1]))
        >>> round(float(scores.aurc), 6), round(float(scores.ause), 6)
        (0.275645, 0.459259)
    """
    blocks = filled_blocks(counts, error_sums)
    return scores_from_blocks(blocks, _oracle_blocks(blocks, oracle))


def sparsification_from_histogram(
    counts: Tensor, error_sums: Tensor, *, oracle: tuple[Tensor, Tensor] | None = None, points: int = 101
) -> SparsificationCurve:
    """Return the sparsification curves of one histogram (bins,), at ``points`` shares removed.

    Args:
        counts: items a bin (bins,).
        error_sums: total error of each bin (bins,).
        oracle: as in ``scores_from_histogram``.
        points: number of points, >= 1.

    Returns:
        Curves that start at 1; all but ``removed`` are NaN without any error.

    Raises:
        ConfigError: if ``points`` is below 1.
        ShapeError: as ``scores_from_histogram``.
    """
    blocks = filled_blocks(counts, error_sums)
    return sparsification_from_blocks(blocks, _oracle_blocks(blocks, oracle), points=points)


def add_histograms(metric: Metric, *names: str) -> None:
    """Give a metric empty fine histograms of int64 as states, which processes merge by adding."""
    for name in names:
        metric.add_state(name, torch.zeros(BINS["fine"], dtype=torch.int64), dist_reduce_fx="sum")


def accumulate(uncertainty: Tensor, error: Tensor, *, resolution: Resolution = "fine") -> tuple[Tensor, Tensor]:
    """Return counts and error sums in units of 2^-30 by bin, both int64, so that adding them up is exact anywhere."""
    check_shapes(uncertainty, error)
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


def filled_blocks(counts: Tensor, error_sums: Tensor) -> Blocks:
    """Return histograms as blocks without the bins that are empty in all of them."""
    if counts.shape != error_sums.shape or counts.ndim == 0:
        raise ShapeError(
            f"counts are {tuple(counts.shape)} and error_sums {tuple(error_sums.shape)}, expected the same "
            "(..., bins); give both fields of the same histogram"
        )
    filled = (counts > 0).flatten(0, -2).any(0) if counts.ndim > 1 else counts > 0
    return Blocks(counts[..., filled].double(), error_sums[..., filled].double())


def _merge(half: Tensor) -> Tensor:
    """Return one half of fine histograms, its zero bin first, in coarse bins."""
    return torch.cat([half[..., :1], half[..., 1:].reshape(*half.shape[:-1], -1, _MERGED).sum(-1)], dim=-1)


def _oracle_blocks(blocks: Blocks, oracle: tuple[Tensor, Tensor] | None) -> Blocks:
    """Return the blocks of the oracle; for errors of 0 and 1 these are all right items, then all wrong ones."""
    if oracle is not None:
        return filled_blocks(*oracle)
    if bool((blocks.error_sums > blocks.counts).any()):
        raise ShapeError(
            "a bin has more errors than items, expected errors of 0 and 1 where no oracle is given; "
            "pass oracle=oracle_histogram(error)"
        )
    count, wrong = blocks.counts.sum(-1), blocks.error_sums.sum(-1)
    return Blocks(torch.stack([count - wrong, wrong], -1), torch.stack([torch.zeros_like(wrong), wrong], -1))
