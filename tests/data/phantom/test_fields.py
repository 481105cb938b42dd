"""Fields against closed forms: coordinates, soft steps, thickness, the marginals of smooth noise."""

import math

import numpy as np
import pytest

from trustseg.data.phantom.fields import chord, frame, gaussian_field, ramp, stream


def test_a_smooth_field_is_standard_normal_at_every_pixel() -> None:
    generator = stream(0, 1)
    fields = np.stack([gaussian_field(generator, 6, 17) for _ in range(8000)])
    assert fields.dtype == np.float32
    np.testing.assert_allclose(fields.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(fields.var(axis=0), 1, atol=0.09)


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_the_frame_holds_the_centres_of_its_pixels(size: int) -> None:
    x, y = frame(size)
    assert (x.shape, y.shape) == ((1, size), (size, 1))
    np.testing.assert_allclose(x[0], [-1 + (2 * k + 1) / size for k in range(size)], atol=1e-6)
    np.testing.assert_array_equal(x[0], y[:, 0])


@pytest.mark.parametrize("width", [0.05, 0.5, 2.0])
def test_a_ramp_is_the_logistic_of_four_widths(width: float) -> None:
    values = np.linspace(-3, 3, 61, dtype=np.float32) * np.float32(width)
    expected = 1 / (1 + np.exp(-4 * values.astype(float) / width))
    before = values.copy()
    np.testing.assert_allclose(ramp(values, width), expected, atol=1e-6)
    np.testing.assert_array_equal(values, before)
    assert ramp(np.zeros(1, np.float32), width)[0] == 0.5


def test_a_chord_is_as_thick_as_the_ellipsoid() -> None:
    radius = np.array([0.0, 0.6, 0.8, 1.0, 1.5], dtype=np.float32)
    np.testing.assert_allclose(chord(radius * radius), [1, 0.8, 0.6, 0, 0], atol=1e-6)
    grid = np.linspace(-1, 1, 1001)
    sphere = 2 * chord(grid[:, None] ** 2 + grid[None, :] ** 2).sum() * (grid[1] - grid[0]) ** 2
    assert sphere == pytest.approx(4 / 3 * math.pi, rel=1e-3)
