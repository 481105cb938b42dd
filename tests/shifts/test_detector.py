"""What happens at the detector and at the display, against formulas and counts."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from tests.shifts.films import films, seeded

from trustseg.shifts import SHIFT_TABLE, SHIFTS

EVEN = torch.full((2, 1, 64, 96), 0.4)


@pytest.mark.parametrize("name", ["scatter", "double_exposure", "edge_enhancement"])
def test_an_even_film_stays_even(name: str) -> None:
    torch.testing.assert_close(SHIFTS[name](EVEN, 5, seeded()), EVEN, rtol=0, atol=1e-6)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_scatter_adds_blurred_photons(severity: int) -> None:
    images, _ = films(count=2)
    photons, ratio = np.exp(-3 * images.numpy().astype(float)), SHIFT_TABLE["scatter"][severity - 1]
    veil = np.stack([gaussian_filter(one, 12.8, mode="nearest", radius=39) for one in photons[:, 0]])[:, None]
    expected = -np.log((photons + ratio * veil) / (1 + ratio)) / 3
    np.testing.assert_allclose(SHIFTS["scatter"](images, severity, seeded()).numpy(), expected, rtol=0, atol=1e-5)


def test_a_tilted_grid_stops_rays_linearly_towards_one_side() -> None:
    sides = set()
    for seed in range(6):
        film = SHIFTS["grid_cutoff"](EVEN, 3, seeded(seed))[0, 0, 0].double()
        left = (-3 * (film - 0.4)).exp()
        torch.testing.assert_close(left.diff(), left.diff().mean().expand(95), rtol=1e-3, atol=1e-6)
        assert sorted([left[0].item(), left[-1].item()]) == pytest.approx([0.6, 1], abs=0.005)
        sides.add(bool(left[0] > left[-1]))
    assert sides == {True, False}


@pytest.mark.parametrize("severity", [1, 5])
def test_faults_are_counted(severity: int) -> None:
    images = torch.full((3, 1, 300, 200), 0.5)
    columns = SHIFTS["dead_columns"](images, severity, seeded())
    assert ((columns == 1).all(dim=2).sum(dim=2) == SHIFT_TABLE["dead_columns"][severity - 1]).all()
    pixels, share = SHIFTS["dead_pixels"](images, severity, seeded()), SHIFT_TABLE["dead_pixels"][severity - 1]
    for grey in (0, 1):
        assert (pixels == grey).float().mean().item() == pytest.approx(share / 2, rel=0.2)
    greys = SHIFTS["few_grey_levels"](torch.rand(1, 1, 99, 99, generator=seeded()), severity, seeded())
    assert len(set(greys.flatten().tolist())) == SHIFT_TABLE["few_grey_levels"][severity - 1]


def test_noise_of_rows_and_tiles_is_shared() -> None:
    images = torch.full((1, 2, 400, 40), 0.5)
    rows = SHIFTS["row_noise"](images, 3, seeded()) - 0.5
    assert rows.std().item() == pytest.approx(0.045, rel=0.1)
    torch.testing.assert_close(rows, rows[:, :1, :, :1].expand(rows.shape))
    assert len(set(SHIFTS["tile_gain"](images, 3, seeded()).flatten().tolist())) == 16


@pytest.mark.parametrize(
    ("name", "depth"), [("grid_lines", 0.035), ("moire", 0.16 * 0.5), ("clothing", 0.1), ("glare", 0.27)]
)
def test_patterns_have_the_amplitude_of_the_table(name: str, depth: float) -> None:
    images = torch.full((4, 1, 256, 256), 0.5)
    change = SHIFTS[name](images, 3, seeded()) - images
    assert change.amax().item() == pytest.approx(depth, rel=0.02)
    assert change.amin().item() == pytest.approx(-depth if name in ("grid_lines", "moire") else 0, abs=0.02 * depth)


def test_the_lines_of_a_grid_have_a_period_of_four_to_eight_pixels() -> None:
    stripes = SHIFTS["grid_lines"](torch.full((20, 1, 256, 256), 0.5), 3, seeded())[:, 0, 0] - 0.5
    periods = 256 / torch.fft.rfft(stripes).abs().argmax(dim=1)
    assert ((periods > 3.9) & (periods < 8.3)).all()
    assert periods.max() - periods.min() > 2


def test_a_second_exposure_shares_the_photons() -> None:
    image = torch.zeros(1, 1, 100, 100)
    image[..., 50:55, 50:55] = 1
    twice = SHIFTS["double_exposure"](image, 5, seeded())
    inside = -math.log(0.6 * math.exp(-3) + 0.4) / 3
    assert twice[0, 0, 52, 52].item() == pytest.approx(inside, abs=1e-5)
    assert twice.amin(dim=(2, 3)).item() == 0
    ghost = twice.clone()
    ghost[..., 50:55, 50:55] = 0
    assert ghost.max().item() == pytest.approx(-math.log(0.6 + 0.4 * math.exp(-3)) / 3, abs=1e-5)


def test_an_implant_is_one_bright_patch_that_grows() -> None:
    small, large = (SHIFTS["implant"](torch.zeros(6, 1, 256, 256), severity, seeded()) for severity in (1, 5))
    assert (large >= small).all()
    reach = 256 * 0.12
    area = (large > 0.475).sum(dim=(1, 2, 3)).double()
    # Of a superellipse of exponent 4 with half axes a and b: 3.708 a b.
    torch.testing.assert_close(area, torch.full_like(area, 3.708 * reach * 0.8 * reach), rtol=0.02, atol=0)


def test_tubes_are_translucent() -> None:
    black, white = (SHIFTS["tubes"](torch.full((2, 1, 128, 128), grey), 5, seeded()) for grey in (0.0, 0.95))
    assert black.max().item() == pytest.approx(0.475, abs=0.01)
    torch.testing.assert_close(white, torch.full_like(white, 0.95))
