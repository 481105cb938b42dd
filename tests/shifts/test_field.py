import pytest
import torch
from tests.shifts.films import seeded

from trustseg.shifts import SHIFTS
from trustseg.shifts.field import collimation_cover
from trustseg.shifts.table import uniform


def test_vignette_by_hand() -> None:
    white = torch.ones(1, 1, 2, 4)  # centres at (+-1/2, +-1/4 or +-3/4) of the half sides
    shifted = SHIFTS["vignette"](white, 2, seeded())
    inner, outer = 1 - 0.3 * (1 / 4 + 1 / 16) / 2, 1 - 0.3 * (1 / 4 + 9 / 16) / 2
    torch.testing.assert_close(shifted[0, 0], torch.tensor([[outer, inner, inner, outer]] * 2))


@pytest.mark.parametrize("severity", [1, 5])
def test_the_border_is_as_wide_as_drawn(severity: int) -> None:
    images = torch.ones(3, 1, 200, 320)
    width = (0.02, 0.04, 0.06, 0.08, 0.10)[severity - 1]
    left, right, top, bottom = (width * (0.5 + uniform(images, seeded(), 4))).T
    cover = collimation_cover(images, severity, seeded())[:, 0]
    assert ((cover >= 0) & (cover <= 1)).all()
    torch.testing.assert_close(cover[:, 100].sum(dim=1), 320 * (left + right), rtol=0, atol=0.3)
    torch.testing.assert_close(cover[:, :, 160].sum(dim=1), 200 * (top + bottom), rtol=0, atol=0.3)
    torch.testing.assert_close(cover[:, 100, :160].sum(dim=1), 320 * left, rtol=0, atol=0.3)
    torch.testing.assert_close(cover[:, :100, 160].sum(dim=1), 200 * top, rtol=0, atol=0.3)
    assert torch.equal(SHIFTS["collimation"](images, severity, seeded())[:, 0], 1 - cover)
