"""Geometry, tone and blur of a film against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from trustseg.data.phantom.fields import frame, stream
from trustseg.data.phantom.film import Exposure, _soften, body_coordinates, develop, finish, project

STRAIGHT = Exposure(
    portable=False,
    turn=0.0,
    zoom=(1.0, 1.0),
    shift=(0.0, 0.0),
    breath=0.0,
    slope=4.0,
    middle=0.6,
    floor=0.1,
    ceiling=0.9,
    gamma=1.0,
    blur=0.0,
    noise=0.0,
    collimation=(0.0, 0.0, 0.0, 0.0),
)
TURNED = replace(STRAIGHT, turn=0.3, zoom=(0.9, 1.1), shift=(0.05, -0.1))


def test_pose_is_a_rotation_then_a_zoom_then_a_shift() -> None:
    x, y = body_coordinates(TURNED, 8)
    u, v = (np.broadcast_to(part, (8, 8)).astype(float) for part in frame(8))
    turned = (u + 1j * v) * np.exp(-0.3j)
    np.testing.assert_allclose(x, 0.9 * turned.real + 0.05, atol=1e-6)
    np.testing.assert_allclose(y, 1.1 * turned.imag - 0.1, atol=1e-6)


@pytest.mark.parametrize("exposure", [STRAIGHT, TURNED])
def test_a_texture_is_projected_to_the_coordinates_of_the_pixels(exposure: Exposure) -> None:
    """A texture that holds its own coordinates must show those of the pixels."""
    nodes, reach, size = 200, 2.0, 33
    along = ((2 * np.arange(nodes, dtype=np.float32) + 1) / nodes - 1) * np.float32(reach)
    across = np.ascontiguousarray(np.broadcast_to(along, (nodes, nodes)))
    for texture, expected in zip((across, across.T.copy()), body_coordinates(exposure, size), strict=True):
        np.testing.assert_allclose(project(exposure, texture, reach, size), expected, atol=1e-3)


def test_the_tone_curve_rises_from_floor_to_ceiling() -> None:
    grey = develop(STRAIGHT, np.array([-5.0, 0.0, 0.6, 1.0, 5.0], dtype=np.float32))
    logistic = 1 / (1 + np.exp(4 * 0.6))
    assert grey.tolist() == pytest.approx([0.1, 0.1 + 0.8 * logistic, 0.5, 0.1 + 0.8 / (1 + np.exp(-1.6)), 0.9])
    darker = develop(replace(STRAIGHT, gamma=2.0), np.array([0.6], dtype=np.float32))
    assert darker.tolist() == pytest.approx([0.1 + 0.8 * 0.25])


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.2])
def test_blur_moves_grey_and_loses_none(sigma: float) -> None:
    point = np.zeros((41, 41), dtype=np.float32)
    point[20, 20] = 1
    blurred = _soften(point, sigma)
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    for axis in (0, 1):
        assert (blurred.sum(axis) * (np.arange(41) - 20) ** 2).sum() == pytest.approx(sigma**2, rel=1e-3)
    corner = np.zeros((5, 5), dtype=np.float32)
    corner[0, 0] = 1
    assert _soften(corner, sigma).sum() == pytest.approx(1, abs=1e-5)  # nothing leaves the frame
    assert point.sum() == 1


def test_grain_has_the_strength_that_is_asked_for() -> None:
    clean, noisy = (
        finish(replace(STRAIGHT, noise=noise), np.full((128, 128), 0.5, dtype=np.float32), stream(0, 3))
        for noise in (0.0, 0.04)
    )
    difference = (noisy.astype(float) - clean)[40:, 40:] / 255
    assert difference.std() == pytest.approx(0.04 * np.sqrt(0.5), rel=0.1)
