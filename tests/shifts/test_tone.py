import pytest
import torch
from tests.shifts.films import seeded

from trustseg.shifts import SHIFTS

GREYS = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 2, 2)  # mean 0.4375


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gamma_up", [0.0, 0.25**1.6, 0.5**1.6, 1.0]),
        ("gamma_down", [0.0, 0.25**0.62, 0.5**0.62, 1.0]),
        ("contrast_up", [0.0, 0.4375 - 1.5 * 0.1875, 0.4375 + 1.5 * 0.0625, 1.0]),
        ("contrast_down", [0.4375 * 0.45, 0.4375 - 0.55 * 0.1875, 0.4375 + 0.55 * 0.0625, 0.4375 + 0.55 * 0.5625]),
        ("brightness_up", [0.13, 0.38, 0.63, 1.0]),
        ("brightness_down", [0.0, 0.12, 0.37, 0.87]),
    ],
)
def test_greys_by_hand(name: str, expected: list[float]) -> None:
    shifted = SHIFTS[name](GREYS, 3, seeded())
    torch.testing.assert_close(shifted.flatten(), torch.tensor(expected))
