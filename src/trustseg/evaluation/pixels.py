"""Sums over the pixels of a condition, by group of patients, added up on the device, of bounded size."""

from collections.abc import Mapping, Sequence
from typing import Final
from zlib import crc32

import numpy as np
import polars as pl
import torch
from torch import Tensor

from trustseg.beliefs import Belief
from trustseg.evaluation.conditions import Condition
from trustseg.masks import counted, filled
from trustseg.metrics import BINS, boundary_band
from trustseg.metrics.calibration import calibration_counts_by_region
from trustseg.metrics.histograms import UNIT, uncertainty_keys
from trustseg.records import REGIONS

__all__ = ["GROUPS", "PixelSums", "patient_groups"]

GROUPS: Final = 200
CALIBRATION_BINS: Final = 15

_WHERE: Final = {"condition": pl.String, "eps": pl.Float64}
_CELL: Final = {"patient": pl.String, "bin": pl.Int32, "count": pl.Int64}
_HISTOGRAMS: Final = pl.Schema({**_WHERE, "measure": pl.String, **_CELL, "wrong": pl.Int64, "brier": pl.Float32})
_CALIBRATION: Final = pl.Schema(
    {**_WHERE, "region": pl.String, **_CELL, "sum_probability": pl.Float64, "sum_reference": pl.Float64}
)


def patient_groups(patients: Sequence[str]) -> list[str]:
    """Return the group of each image: its patient or, of more than 200 patients, one of up to 200 groups of them.

    So the tables of the pixels stop growing with the test set. A bootstrap that draws whole groups is one over
    independent sums of patients: its intervals mean the same, with up to 200 units (126 groups of 201 patients, all 200
    from some 1000 on) in the place of thousands. Who shares a group follows from the name alone, so it is the same for
    every model and seed.

    Example:
        >>> patient_groups(["ann", "bob", "ann"])
        ['ann', 'bob', 'ann']
    """
    if len(set(patients)) <= GROUPS:
        return list(patients)
    return [f"group-{crc32(patient.encode()) % GROUPS:03d}" for patient in patients]


class PixelSums:
    """Sums over the pixels of one condition, by group of patients, batch after batch.

    All are sums of whole numbers, squared errors and probabilities in units of 2^-30: the same bits on any device, in
    any order. ``groups`` names each group once, ``device`` is where the beliefs are.
    """

    def __init__(self, groups: Sequence[str], device: torch.device) -> None:
        self._groups = np.array(groups, dtype=object)
        self._errors: dict[str, Tensor] = {}  # measure -> (3, groups * bins): pixels, wrong ones, squared errors
        shape = (len(REGIONS), len(groups), CALIBRATION_BINS, 3)
        self._reliability = torch.zeros(shape, dtype=torch.int64, device=device)

    def add(self, belief: Belief, maps: Mapping[str, Tensor], masks: Tensor, members: Tensor) -> None:
        """Add a batch.

        Args:
            belief: about the images.
            maps: measure -> its map (B, 1, H, W).
            masks: reference masks.
            members: the group of each image (B,), int64 on the device of the masks.
        """
        inside = counted(masks).flatten()  # others are added as 0: to leave them out, a GPU would have to be waited for
        wrong = ((belief.log_odds > 0) != (masks > 0.5)).flatten() & inside
        probability = belief.probability
        squared = (probability.double() - filled(masks).double()).square_().flatten() * inside
        values = inside.long(), wrong.long(), squared.mul_(UNIT).round_().long()
        first = (members * BINS["coarse"]).view(-1, 1, 1, 1)
        for measure, uncertainty in maps.items():
            cells = (first + uncertainty_keys(uncertainty, resolution="coarse")).flatten()
            size = len(self._groups) * BINS["coarse"]
            if measure not in self._errors:
                self._errors[measure] = torch.zeros(3, size, dtype=torch.int64, device=masks.device)
            for row, column in zip(self._errors[measure], values, strict=True):
                row.index_add_(0, cells, column)
        regions = (None, boundary_band(masks), masks > 0.5)
        found = calibration_counts_by_region(probability, masks, regions, bins=CALIBRATION_BINS)
        for sums, counts in zip(self._reliability, found, strict=True):
            sums.index_add_(0, members, (counts * UNIT).round().long())

    def histograms(self, condition: Condition) -> pl.DataFrame:
        """Return a row per measure, group and bin that holds a pixel."""
        frames = [pl.DataFrame(schema=_HISTOGRAMS)]
        for measure, sums in self._errors.items():
            filled = sums[0].nonzero().flatten()
            count, wrong, squared = sums[:, filled].cpu()
            group, bin_ = np.divmod(filled.cpu().numpy(), BINS["coarse"])
            columns = {
                **{"condition": condition.name, "eps": condition.eps, "measure": measure},
                **{"patient": self._groups[group], "bin": bin_},
                **{"count": count.numpy(), "wrong": wrong.numpy(), "brier": squared.numpy() / UNIT},
            }
            frames.append(pl.DataFrame(columns, schema=_HISTOGRAMS))
        return pl.concat(frames)

    def calibration(self, condition: Condition) -> pl.DataFrame:
        """Return a row per region, group and bin of the probability, empty bins included."""
        sums = self._reliability.cpu().numpy() / UNIT
        region, group, bin_ = (index.ravel() for index in np.indices(sums.shape[:-1]))
        count, probability, reference = sums.reshape(-1, 3).T
        columns = {
            **{"condition": condition.name, "eps": condition.eps, "region": np.array(REGIONS, dtype=object)[region]},
            **{"patient": self._groups[group], "bin": bin_, "count": count.astype(np.int64)},
            **{"sum_probability": probability, "sum_reference": reference},
        }
        return pl.DataFrame(columns, schema=_CALIBRATION)
