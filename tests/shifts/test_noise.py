import math

import pytest
import torch
from tests.shifts.films import seeded

from trustseg.shifts import SHIFTS


@pytest.mark.parametrize(
    ("name", "grey", "deviation"),
    [
        ("gaussian_noise", 0.5, 0.07),
        ("speckle", 0.5, 0.19 * 0.5),
        ("low_dose", 0.5, math.exp(0.75) / (3 * math.sqrt(240))),
    ],
)
def test_noise_has_the_deviation_of_its_formula(name: str, grey: float, deviation: float) -> None:
    images = torch.full((1, 1, 300, 301), grey)
    noise = SHIFTS[name](images, 3, seeded()) - images
    assert noise.mean().item() == pytest.approx(0, abs=0.02 * deviation)
    assert noise.std().item() == pytest.approx(deviation, rel=0.02)


def test_low_dose_is_that_of_a_photon_count() -> None:
    grey, photons = 0.3, 600
    counts = torch.poisson(torch.full((200_000,), photons * math.exp(-3 * grey)), generator=seeded())
    counted = -(counts / photons).log() / 3
    images = torch.full((1, 1, 400, 500), grey)
    assert SHIFTS["low_dose"](images, 2, seeded()).std().item() == pytest.approx(counted.std().item(), rel=0.02)


@pytest.mark.parametrize("name", ["gaussian_noise", "speckle", "low_dose"])
def test_channels_share_the_field_and_severities_too(name: str) -> None:
    images = torch.full((2, 3, 9, 7), 0.5)
    mild, severe = (SHIFTS[name](images, severity, seeded()) - 0.5 for severity in (1, 2))
    assert torch.equal(mild[:, 0], mild[:, 2])
    assert not torch.equal(mild[0], mild[1])
    ratio = severe.norm() / mild.norm()
    torch.testing.assert_close(severe, ratio * mild, rtol=1e-3, atol=1e-4)
