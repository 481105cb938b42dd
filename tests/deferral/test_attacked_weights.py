"""Weights of draws, held against the bound on the side where rounding cannot hide a failure: 1 - E u and 1 - h."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from trustseg.deferral import attacked_weights as module
from trustseg.deferral.attacked_weights import attacked_weights
from trustseg.deferral.certified import require_patients
from trustseg.errors import ConfigError


def assert_valid(weights: Any, ratio: float) -> None:  # noqa: ANN401 - an array
    draws, z = len(weights) - 1, np.linspace(-25, 25, 1501)
    assert (np.diff(weights) >= 0).all()
    assert 0 <= weights[0] <= weights[-1] == 1
    failures = np.arange(draws + 1)
    by_rest = binom.pmf(draws - failures, draws, ndtr(-z)[:, None]) @ (1 - weights)
    by_chance = binom.pmf(failures, draws, ndtr(z)[:, None]) @ (1 - weights)
    assert (np.where(z > 0, by_rest, by_chance) <= ndtr(-(z + ratio))).all()


@pytest.mark.parametrize("ratio", [0.5, 1.2, 2.0, 4.0])
@pytest.mark.parametrize("draws", [1, 2, 16, 64, 128])
def test_weights_hold_for_every_chance(draws: int, ratio: float) -> None:
    weights = attacked_weights(draws, radius=ratio / 4, noise=0.25)
    assert_valid(weights, ratio)
    if draws == 128 and ratio <= 2:  # and are of use, where draws are many
        assert weights[0] < 0.05


@pytest.mark.parametrize(("draws", "ratio", "loss"), [(5, 0.5, 0.03), (16, 0.0, 1e-12), (32, 1.0, 0.012)])
def test_the_bound_is_not_missed_by_much(draws: int, ratio: float, loss: float) -> None:
    chances = np.linspace(0.0003, 0.9997, 1999)
    mean = binom.pmf(np.arange(draws + 1), draws, chances[:, None]) @ attacked_weights(draws, radius=ratio, noise=1.0)
    assert np.mean(np.abs(mean - ndtr(ndtri(chances) + ratio))) < loss


def test_the_weight_of_no_failure_against_its_closed_form() -> None:
    """Of two draws u = (u(0), 1, 1), so that 1 - u(0) is the least (1 - h(g)) / (1 - g)^2."""
    z = np.linspace(-6, 6, 100_001)
    least = float((ndtr(-(z + 1)) / ndtr(-z) ** 2).min())
    weights = attacked_weights(2, radius=1.0, noise=1.0)
    assert weights[1] == 1
    assert 1 - least <= weights[0] <= 1 - least + 0.005


@pytest.mark.parametrize("fails_for", [0, 3, 1000])
def test_a_solver_that_fails_or_lies_leaves_valid_weights(fails_for: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def solver(cost: Any, **_: Any) -> Any:  # noqa: ANN401 - as that of scipy
        calls.append(cost)
        return SimpleNamespace(status=4 if len(calls) <= fails_for else 0, x=np.full(len(cost), 0.9))

    monkeypatch.setattr(module, "linprog", solver)
    attacked_weights.cache_clear()
    assert_valid(attacked_weights(8, radius=0.5, noise=1.0), 0.5)
    attacked_weights.cache_clear()


def test_where_no_weights_help_it_is_refused() -> None:
    assert attacked_weights(64, radius=30.0, noise=1.0).tolist() == [1.0] * 65
    with pytest.raises(ConfigError, match="an image without a failure in 16 draws may still fail"):
        require_patients(500, at_most=0.1, radius=0.5, noise=0.25, delta=None, draws=16)
