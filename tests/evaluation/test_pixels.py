"""Sums over pixels against counting one by one, and intervals of groups of patients against those of patients."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from trustseg.beliefs import Beta
from trustseg.evaluation.conditions import CLEAN, Condition
from trustseg.evaluation.pixels import GROUPS, PixelSums, patient_groups
from trustseg.metrics import uncertainty_keys
from trustseg.statistics import bootstrap_rows
from trustseg.uncertainty import MEASURES

CPU = torch.device("cpu")


def test_many_patients_share_groups_by_name_alone() -> None:
    patients = [f"patient {number}" for number in range(5000)]
    groups = patient_groups(patients)
    assert len(set(groups)) == GROUPS
    shuffled = np.random.default_rng(0).permutation(5000)
    again = patient_groups([patients[number] for number in shuffled])
    assert again == [groups[number] for number in shuffled]  # neither the order nor the company matters
    assert max(Counter(groups).values()) < 60  # 25 on average: none decides alone
    assert len({patient_groups([*patients, "patient 7"])[place] for place in (7, -1)}) == 1


def test_sums_are_those_of_a_loop_over_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    alpha, beta = (torch.rand(3, 1, 4, 5, generator=generator) * 4 + 0.5 for _ in range(2))
    masks = (torch.rand(3, 1, 4, 5, generator=generator) > 0.6).float()
    belief, members = Beta(alpha, beta), torch.tensor([1, 0, 1])
    vacuity = MEASURES["vacuity"](belief)
    sums = PixelSums(["ann", "bob"], CPU)
    sums.add(belief, {"vacuity": vacuity}, masks, members)
    expected: dict[tuple[str, int], list[float]] = {}
    reliability: dict[tuple[bool, int], list[float]] = {}
    keys, probability = uncertainty_keys(vacuity, resolution="coarse"), belief.probability.double()
    for place in np.ndindex(*masks.shape):
        p, y = float(probability[place]), float(masks[place])
        row = expected.setdefault(("bob" if place[0] != 1 else "ann", int(keys[place])), [0, 0, 0])
        row[0] += 1
        row[1] += (p > 0.5) != (y > 0.5)
        row[2] += (p - y) ** 2
        of_bin = reliability.setdefault((place[0] != 1, min(int(p * 15), 14)), [0, 0, 0])
        of_bin[:] = [old + new for old, new in zip(of_bin, (1, p, y), strict=True)]
    calibration = sums.calibration(CLEAN).filter(pl.col("region") == "whole", pl.col("count") > 0)
    rows = calibration.select("patient", "bin", "count", "sum_probability", "sum_reference").rows()
    assert {(row[0] == "bob", row[1]): list(row[2:]) for row in rows} == {
        key: pytest.approx(row, rel=1e-5) for key, row in reliability.items()
    }
    found = sums.histograms(Condition("fgsm", 0.1))
    assert found.select("condition", "eps", "measure").unique().rows() == [("fgsm", 0.1, "vacuity")]
    assert {row[:2]: list(row[2:]) for row in found.select("patient", "bin", "count", "wrong", "brier").rows()} == {
        key: pytest.approx(row, rel=1e-6, abs=1e-8) for key, row in expected.items()
    }


def test_sums_do_not_depend_on_order_or_batches() -> None:
    generator = torch.Generator().manual_seed(1)
    alpha, beta = (torch.rand(4, 1, 8, 8, generator=generator) * 4 + 0.5 for _ in range(2))
    masks = (torch.rand(4, 1, 8, 8, generator=generator) > 0.6).float()
    tables = []
    for batches in ([[0, 1, 2, 3]], [[3, 1], [2], [0]]):
        sums = PixelSums(["ann", "bob"], CPU)
        for rows in batches:
            belief = Beta(alpha[rows], beta[rows])
            sums.add(belief, {"entropy": MEASURES["entropy"](belief)}, masks[rows], torch.tensor(rows) % 2)
        tables.append((sums.histograms(CLEAN), sums.calibration(CLEAN)))
    assert all(one.equals(other) for one, other in zip(*tables, strict=True))


@pytest.mark.parametrize("count", [201, 400, 3000])
def test_intervals_of_groups_are_nearly_those_of_patients(count: int) -> None:
    """A mean over patients whose images differ in number, of many test sets: both intervals are equally wide."""
    widths = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        patients = [f"patient {seed} {number}" for number in range(count)]
        table = np.column_stack([rng.integers(1, 4, count).astype(float), rng.gamma(2.0, size=count)])
        alone, grouped = (
            bootstrap_rows(table, np.asarray(names), _ratio, draws=1000)
            for names in (patients, patient_groups(patients))
        )
        assert grouped.value == pytest.approx(alone.value)
        widths.append((grouped.high - grouped.low) / (alone.high - alone.low))
    assert np.mean(widths) == pytest.approx(1, rel=0.06)


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sums[:, 1] / sums[:, 0])
