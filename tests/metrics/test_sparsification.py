"""Sparsification curves and AUSE: the area between curves, chance, the oracle."""

import math

import numpy as np
import pytest
import torch

from trustseg.errors import ConfigError
from trustseg.metrics import (
    ause,
    error_histogram,
    nause,
    rank_scores,
    sparsification_curve,
    sparsification_from_counts,
)


@pytest.fixture
def ranking() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    error = torch.rand(500, generator=generator).square()
    return torch.randint(0, 40, (500,), generator=generator) + 20 * error, error


def test_ause_is_the_mean_gap_between_the_curves(ranking: tuple[torch.Tensor, torch.Tensor]) -> None:
    curve = sparsification_curve(*ranking)
    torch.testing.assert_close((curve.model - curve.oracle).mean(), ause(*ranking))
    torch.testing.assert_close((1 - curve.oracle).mean(), rank_scores(*ranking).ause_random)
    torch.testing.assert_close(ause(*ranking) / (1 - curve.oracle).mean(), nause(*ranking))
    assert curve.removed[0] == 0
    assert bool((curve.removed.diff() > 0).all())
    torch.testing.assert_close(torch.stack([curve.model[0], curve.oracle[0]]), torch.ones(2, dtype=torch.float64))
    assert bool((curve.oracle <= curve.model + 1e-12).all())


def test_identity_with_e_aurc_is_exact(ranking: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores = rank_scores(*ranking)
    assert scores.ause == scores.e_aurc / scores.mean_error


def test_oracle_chance_and_worse_than_chance() -> None:
    error = torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0])
    assert float(nause(error, error)) == 0.0
    assert float(nause(torch.zeros(5), error)) == pytest.approx(1.0)
    assert float(nause(-error, error)) > 1.0


def test_no_errors_at_all_is_undefined() -> None:
    curve = sparsification_curve(torch.rand(4), torch.zeros(4))
    assert bool(torch.stack([curve.model, curve.oracle]).isnan().all())
    assert math.isnan(float(ause(torch.rand(4), torch.zeros(4))))


def test_fewer_points(ranking: tuple[torch.Tensor, torch.Tensor]) -> None:
    full, some = sparsification_curve(*ranking), sparsification_curve(*ranking, points=10)
    index = (some.removed * 500).round().long()
    assert len(index) == 10
    torch.testing.assert_close(some.model, full.model[index])
    torch.testing.assert_close(some.oracle, full.oracle[index])
    with pytest.raises(ConfigError, match="points is 0"):
        sparsification_curve(*ranking, points=0)


def test_curves_of_histograms_agree(ranking: tuple[torch.Tensor, torch.Tensor]) -> None:
    uncertainty, error = ranking[0].round(), ranking[1]  # whole numbers have a bin each, so only the oracle is binned
    exact = sparsification_curve(uncertainty, error, points=50)
    oracle = error_histogram(error, error)
    binned = sparsification_from_counts(*error_histogram(uncertainty, error), exact.removed, oracle=oracle)
    torch.testing.assert_close(binned.model, exact.model, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(binned.oracle, exact.oracle, rtol=1e-4, atol=1e-4)


def test_a_small_histogram_by_hand() -> None:
    """Four sure pixels without an error, then four of which three are wrong: 3 of 8 at the start."""
    curve = sparsification_from_counts(np.array([4, 4]), np.array([0, 3]), np.array([0, 0.25, 0.5]))
    # a quarter removed: 6 kept, of the second bin 2 with 1.5 errors; the oracle removes 2 of 3
    assert curve.model.tolist() == pytest.approx([1, (1.5 / 6) / (3 / 8), 0])
    assert curve.oracle.tolist() == pytest.approx([1, (1 / 6) / (3 / 8), 0])
    nothing = sparsification_from_counts(np.array([4, 4]), np.array([0, 0]), np.array([0, 0.5]))
    assert np.isnan([nothing.model, nothing.oracle]).all()
