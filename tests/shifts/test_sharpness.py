"""Blur against SciPy, JPEG against Pillow."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from tests.shifts.films import films, seeded

from trustseg.shifts import SHIFT_TABLE, SHIFTS
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


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize(
    ("size", "shape", "off"),  # off: share of pixels; a coefficient is much of a small image
    [
        (256, (256, 256), 0.01),
        (256, (201, 150), 0.01),
        (128, (128, 128), 0.015),
        (128, (8, 8), 0.02),
        (128, (1, 1), 0.0),
        (128, (3, 30), 0.02),
    ],
)
def test_jpeg_is_pillows(severity: int, size: int, shape: tuple[int, int], off: float) -> None:
    films_, _ = films(size=size)
    images = films_[:, :, : shape[0], : shape[1]]
    ours = SHIFTS["jpeg"](images, severity, seeded())[:, 0] * 255
    theirs = []
    for image in images[:, 0]:
        file = io.BytesIO()
        Image.fromarray((image * 255).round().byte().numpy()).save(
            file, "JPEG", quality=int(SHIFT_TABLE["jpeg"][severity - 1])
        )
        theirs.append(np.asarray(Image.open(file)))
    difference = np.abs(ours.numpy() - np.stack(theirs))
    assert difference.mean() < 0.2
    assert (difference > 2).mean() <= off  # where its whole-number transform rounds a coefficient the other way
    torch.testing.assert_close(ours, ours.round(), rtol=0, atol=1e-4)  # whole grey levels


def test_channels_are_coded_one_by_one() -> None:
    images, _ = films(count=3, size=64)
    together = SHIFTS["jpeg"](images.permute(1, 0, 2, 3), 3, seeded())
    torch.testing.assert_close(together[0], SHIFTS["jpeg"](images, 3, seeded())[:, 0])
