"""Conformal control and fixed-sequence testing as in MAPIE, where it is installed."""

import importlib
from types import ModuleType

import numpy as np
import pytest
from scipy import stats
from tests.deferral.records import records_of

from trustseg.deferral import conformal_risk, fit_policy

pytestmark = pytest.mark.oracle


def mapie(name: str) -> ModuleType:
    pytest.importorskip("mapie", minversion="1", exc_type=ImportError)
    return importlib.import_module(f"mapie.risk_control.{name}")


def test_the_corrected_risk() -> None:
    losses = np.sort(np.random.default_rng(0).random((30, 8)), axis=1)[:, ::-1]
    _, theirs = mapie("methods").get_r_hat_plus(losses, np.arange(8), "crc", None, None, None)
    np.testing.assert_allclose(conformal_risk(losses), theirs, rtol=1e-12)


def test_a_fixed_sequence() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = (np.sort(rng.random(80)) * 64).round() / 64
        failed = rng.random(80) < scores**2 / 3
        grid = np.unique(scores)
        kept = np.searchsorted(scores, grid, side="right")
        start = int((kept >= 22).argmax())  # the 22 trials that 0.1 needs at least with delta = 0.1
        failures = np.array([failed[:count].sum() for count in kept])
        # The bound is at most 0.1 where so few failures are unlikely at a rate of 0.1.
        p_values = stats.binom.cdf(failures[start:], kept[start:], 0.1)
        rejected = mapie("fwer_control").control_fwer(p_values, 0.1, "fixed_sequence")
        expected = grid[start + max(rejected)] if len(rejected) else -np.inf
        records = records_of(scores.tolist(), np.where(failed, 0.1, 0.9).tolist())
        policy = fit_policy(records, measure="entropy", aggregation="mean", target="risk", at_most=0.1, delta=0.1)
        assert policy.threshold == expected
