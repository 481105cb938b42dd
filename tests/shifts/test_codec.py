import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.shifts.films import films, seeded

from trustseg.shifts import SHIFT_TABLE, SHIFTS


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
