import math

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate
from tests.shifts.films import films, seeded

from trustseg.errors import ShapeError
from trustseg.shifts import GEOMETRIC_SHIFTS
from trustseg.shifts.geometry import rotation, translation

names = pytest.mark.parametrize("name", GEOMETRIC_SHIFTS)


def disc(height: int, width: int, *, row: float, column: float, radius: float) -> torch.Tensor:
    """Return a disc (1, 1, height, width) of ones, around a point given in pixels."""
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return (torch.hypot(rows - row, columns - column) <= radius).float()[None, None]


def centre(mask: torch.Tensor) -> torch.Tensor:
    """Return row and column of the centre of mass of a single image."""
    return mask[0, 0].nonzero().double().mean(dim=0)


@names
@pytest.mark.parametrize("shape", [(128, 128), (101, 150), (150, 101)])
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_mask_follows_the_image(name: str, shape: tuple[int, int], severity: int) -> None:
    mask = disc(*shape, row=0.3 * shape[0], column=0.65 * shape[1], radius=15)
    images, masks = GEOMETRIC_SHIFTS[name](mask, mask, severity, seeded())
    assert ((images > 0.5).float() != masks).float().mean() < 0.002  # nearest and bilinear differ on the rim only
    assert 2 * (images * masks).sum() / (images.sum() + masks.sum()) > 0.97
    area = {"magnification": (1.02, 1.04, 1.07, 1.1, 1.15)[severity - 1] ** 2}.get(name, 1.0)
    if name != "portable_tilt":
        tolerance = 0.05 if name == "magnification" else 0.02  # rows that are taken twice
        assert masks.sum().item() == pytest.approx(area * mask.sum().item(), rel=tolerance)
    assert not torch.equal(masks, mask)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(128, 128), (101, 150)])
def test_translation_goes_as_far_as_it_says(seed: int, shape: tuple[int, int]) -> None:
    mask = disc(*shape, row=shape[0] / 2, column=shape[1] / 2, radius=10)
    _, moved = translation(mask, mask, 4, seeded(seed))
    way = (centre(moved) - centre(mask)) / torch.tensor(shape)
    assert way.norm().item() == pytest.approx(0.09, abs=0.006)


@pytest.mark.parametrize("shape", [(128, 128), (100, 150)])
def test_rotation_keeps_lengths_and_has_the_angle(shape: tuple[int, int]) -> None:
    middle = (torch.tensor(shape) - 1) / 2
    mask = disc(*shape, row=float(middle[0]) - 30, column=float(middle[1]), radius=6)
    signs = set()
    for seed in range(8):
        _, moved = rotation(mask, mask, 5, seeded(seed))
        row, column = (centre(moved) - middle).tolist()
        assert math.hypot(row, column) == pytest.approx(30, abs=0.3)
        assert math.degrees(math.atan2(abs(column), -row)) == pytest.approx(15, abs=0.7)
        signs.add(column > 0)
    assert signs == {True, False}


@pytest.mark.parametrize("severity", [1, 5])
def test_a_tilted_detector_is_met_by_rays_from_the_tube(severity: int) -> None:
    angle, tube = math.radians((5, 10, 15, 22, 30)[severity - 1]), 4.0
    mask = disc(200, 200, row=60, column=140, radius=8)
    _, moved = GEOMETRIC_SHIFTS["portable_tilt"](mask, mask, severity, seeded())
    (was_down, was_across), (down, across) = (((centre(one) + 0.5) / 100 - 1).tolist() for one in (mask, moved))
    met = []
    for sign in (-1, 1):  # where the ray through a point of the tilted detector meets the upright one
        depth = tube + sign * down * math.sin(angle)
        met.append(math.hypot(across * tube / depth - was_across, down * math.cos(angle) * tube / depth - was_down))
    assert min(met) < 0.004 < max(met)


@pytest.mark.parametrize(("severity", "columns"), [(1, 2), (5, 12)])
def test_a_bad_seam_displaces_its_two_sides(severity: int, columns: int) -> None:
    line = torch.zeros(1, 1, 200, 200)
    line[..., 100] = 1
    _, moved = GEOMETRIC_SHIFTS["stitching"](line, line, severity, seeded())
    places = moved[0, 0].argmax(dim=1)
    (seam,) = places.diff().nonzero().flatten().tolist()
    assert 60 <= seam + 1 <= 140
    assert (places[-1] - places[0]).abs() == columns
    assert places[0] + places[-1] == 200


def test_rotation_is_scipys() -> None:
    images, masks = films(count=1)
    ours, _ = rotation(images, masks, 3, seeded())
    theirs = [rotate(images[0, 0].numpy(), angle, reshape=False, order=1, mode="constant") for angle in (9, -9)]
    inner = np.s_[20:-20, 20:-20]
    assert min(np.abs(ours[0, 0].numpy() - one)[inner].max() for one in theirs) < 1e-3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("severity", [1, 5])
def test_translation_keeps_the_lesion(seed: int, severity: int) -> None:
    images, masks = films(count=12)
    _, moved = translation(images, masks, severity, seeded(seed))
    whole = masks.sum(dim=(1, 2, 3)) > 0
    kept = (moved.sum(dim=(1, 2, 3)) / masks.sum(dim=(1, 2, 3)))[whole]
    assert (kept >= 0.98).all()


def test_translation_turns_away_from_the_border() -> None:
    corner = disc(64, 64, row=4, column=60, radius=4)
    for seed in range(8):
        _, moved = translation(corner, corner, 5, seeded(seed))
        assert moved.sum() >= 0.98 * corner.sum()


def test_translation_of_a_full_mask_keeps_what_it_can() -> None:
    full = torch.ones(1, 1, 50, 50)
    _, moved = translation(full, full, 5, seeded())
    assert 0.85 < moved.mean() < 0.95


@names
def test_refuses_masks_of_another_size(name: str) -> None:
    images, masks = films()
    with pytest.raises(ShapeError, match="masks must be"):
        GEOMETRIC_SHIFTS[name](images, masks[:, :, 1:], 1, seeded())
