"""What changes from epoch to epoch, epoch by epoch."""

import pytest

from trustseg.config.adversarial import AdversarialConfig
from trustseg.training.schedules import fraction_at, learning_rate_factor, ramp_at


@pytest.mark.parametrize("epochs", [1, 2, 3, 30])
def test_the_learning_rate_rises_and_falls(epochs: int) -> None:
    factors = [learning_rate_factor(epoch, epochs=epochs) for epoch in range(epochs)]
    assert factors[:2] == pytest.approx([1 / 3, 2 / 3][:epochs])
    assert factors[2:] == sorted(factors[2:], reverse=True)
    if epochs > 2:
        assert factors[2] == 1
    assert all(0 < factor <= 1 for factor in factors)
    assert learning_rate_factor(epochs + 2, epochs=epochs) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("warmup", "ramp", "expected"),
    [
        (2, 3, [0, 0, 1 / 4, 2 / 4, 3 / 4, 1, 1]),
        (0, 0, [1, 1, 1, 1, 1, 1, 1]),
        (0, 1, [1 / 2, 1, 1, 1, 1, 1, 1]),
        (1, 0, [0, 1, 1, 1, 1, 1, 1]),
        (9, 0, [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_ramp_of_every_epoch(warmup: int, ramp: int, expected: list[float]) -> None:
    options = AdversarialConfig(warmup_epochs=warmup, ramp_epochs=ramp)
    got = [ramp_at(epoch, options) for epoch in range(7)]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    ("start", "warmup", "ramp", "expected"),
    [
        (0.2, 2, 3, [0, 0, 0.2, 0.4, 0.6, 0.8, 0.8]),
        (1.0, 1, 2, [0, 1.0, 0.9, 0.8, 0.8, 0.8, 0.8]),
        (0.2, 0, 0, [0.8] * 7),
        (0.2, 9, 3, [0] * 7),
        (None, 2, 3, [0, 0, 0.8, 0.8, 0.8, 0.8, 0.8]),
    ],
)
def test_the_fraction_of_every_epoch(start: float | None, warmup: int, ramp: int, expected: list[float]) -> None:
    options = AdversarialConfig(fraction=0.8, fraction_start=start, warmup_epochs=warmup, ramp_epochs=ramp)
    got = [fraction_at(epoch, options) for epoch in range(7)]
    assert got == pytest.approx(expected)
