import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from tests.shifts.films import films, seeded

from trustseg.shifts import SHIFTS
from trustseg.shifts.table import uniform


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_gaussian_blur_is_scipys(severity: int) -> None:
    images, _ = films(size=256)
    deviation = (0.6, 1.0, 1.6, 2.4, 3.4)[severity - 1]
    expected = [
        gaussian_filter(image.numpy().astype(float), deviation, mode="nearest", radius=math.ceil(3 * deviation))
        for image in images[:, 0]
    ]
    blurred = SHIFTS["gaussian_blur"](images, severity, seeded())[:, 0].numpy()
    np.testing.assert_allclose(blurred, expected, rtol=0, atol=1e-5)


def test_motion_blur_is_the_mean_along_a_line() -> None:
    images, _ = films(count=1, size=128)
    image = images[:, :, :96]  # 96 x 128: not square
    length = 10 / 2  # 10 px at 256
    angle = math.pi * uniform(image, seeded()).item()
    rows, columns = np.mgrid[:96, :128]
    samples = [
        map_coordinates(
            image[0, 0].numpy().astype(float),
            [rows + offset * math.sin(angle), columns + offset * math.cos(angle)],
            order=1,
            mode="nearest",
        )
        for offset in np.linspace(-length / 2, length / 2, 2 * math.ceil(length) + 1)
    ]
    blurred = SHIFTS["motion_blur"](image, 3, seeded())[0, 0].numpy()
    np.testing.assert_allclose(blurred, np.mean(samples, axis=0), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur", "low_resolution"])
def test_an_even_image_stays_even(name: str) -> None:
    images = torch.full((2, 1, 50, 33), 0.3)
    torch.testing.assert_close(SHIFTS[name](images, 5, seeded()), images, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur", "low_resolution"])
def test_detail_gets_lost(name: str) -> None:
    board = (torch.arange(256)[:, None] + torch.arange(256)).remainder(2).float()[None, None]
    shifted = SHIFTS[name](board, 5, seeded())
    assert shifted[..., 30:-30, 30:-30].std() < 0.2 * board.std()
