"""Noise, tones and uneven exposure against their formulas."""

import math

import pytest
import torch
from tests.shifts.films import seeded

from trustseg.shifts import SHIFTS
from trustseg.shifts.grey_levels import collimation_cover
from trustseg.shifts.table import uniform

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
