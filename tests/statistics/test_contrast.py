"""Two samples drawn apart: against a plain loop, and by what cannot vary."""

import numpy as np
import pytest

from trustseg.errors import ShapeError
from trustseg.statistics import draw_patients
from trustseg.statistics.contrast import bootstrap_contrast
from trustseg.statistics.interval import corrected


def test_equals_a_loop_over_the_draws() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.integers(0, 7, 30), generator.integers(0, 5, 12)
    x, y = generator.normal(size=30), generator.normal(size=12)
    found = bootstrap_contrast(lambda a, b: (a @ x) / a.sum(-1) - (b @ y) / b.sum(-1), first, second, draws=200, seed=4)
    draws = [draw_patients(names, draws=200, seed=seed) for names, seed in ((first, 4), (second, 5))]
    values = []
    for number in range(200):
        rows = [
            np.concatenate([np.repeat(np.flatnonzero(owner == name), count) for name, count in zip(*pair, strict=True)])
            for owner, pair in zip((first, second), [(names, times[number]) for names, _, times in draws], strict=True)
        ]
        values.append(x[rows[0]].mean() - y[rows[1]].mean())
    assert found.value == pytest.approx(x.mean() - y.mean())
    owner = np.concatenate([first, 100 + second])
    spread = corrected(found.value, np.array(values), owner=owner)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(spread, (0.025, 0.975))))
    assert (found.count, found.patients) == (42, len(set(first)) + len(set(second)))


def test_patients_of_equal_names_are_different_ones() -> None:
    found = bootstrap_contrast(lambda a, b: a[:, 0] - b[:, 0], ["p", "q"], ["p", "q"], draws=300)
    assert found.patients == 4
    assert found.low < 0 < found.high


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least one row"):
        bootstrap_contrast(lambda a, b: a.sum(-1), ["p"], [])


def test_undefined_draws_leave_no_interval() -> None:
    found = bootstrap_contrast(lambda a, b: np.full(len(a), np.nan), ["p"], ["q"], draws=10)
    assert np.isnan(found.value)
    assert np.isnan(found.low)
