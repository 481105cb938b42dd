"""Fixed-sequence testing as in MAPIE, where it is installed."""

import importlib

import numpy as np
import pytest
from scipy import stats
from tests.deferral.records import fit, records_of

pytestmark = pytest.mark.oracle


def test_a_fixed_sequence() -> None:
    pytest.importorskip("mapie", minversion="1", exc_type=ImportError)
    control = importlib.import_module("mapie.risk_control.fwer_control")
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
        rejected = control.control_fwer(p_values, 0.1, "fixed_sequence")
        expected = grid[start + max(rejected)] if len(rejected) else -np.inf
        records = records_of(scores.tolist(), np.where(failed, 0.1, 0.9).tolist())
        assert fit(records, target="risk", at_most=0.1, delta=0.1).threshold == expected
