"""What every shift promises, walked through both dictionaries."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shifts.films import films, seeded
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError, UnknownNameError
from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFT_TABLE, SHIFTS, shift, shift_and_share

NAMES = [*SHIFTS, *GEOMETRIC_SHIFTS]
names = pytest.mark.parametrize("name", NAMES)


def entry(name: str) -> Callable[..., Any]:
    """Return the function of that name."""
    return SHIFTS[name] if name in SHIFTS else GEOMETRIC_SHIFTS[name]


def distances(name: str, images: Tensor, masks: Tensor, seed: int) -> Tensor:
    """Return the RMSE (5, B) of each image at each severity."""
    shifted = [shift(name, images, masks, severity, seeded(seed))[0] for severity in range(1, 6)]
    return torch.stack([(views - images).square().mean(dim=(1, 2, 3)).sqrt() for views in shifted])


def test_the_dictionaries_hold_the_table() -> None:
    assert sorted(SHIFT_TABLE) == sorted(NAMES)


@names
@pytest.mark.parametrize("seed", range(2))
def test_every_image_moves_further_with_severity(name: str, seed: int) -> None:
    images, masks = films()
    moved = distances(name, images, masks, seed)
    assert (moved[0] >= 0).all()
    assert (moved[1:] > moved[:-1]).all()


@names
def test_effect_is_visible_but_the_image_is_still_there(name: str) -> None:
    images, masks = films()
    mean = distances(name, images, masks, 0).mean(dim=1)
    assert mean[2] > 0.01
    assert mean[4] < 0.4


@names
@pytest.mark.parametrize("severity", [1, 5])
def test_same_seed_same_bits_and_nothing_is_touched(name: str, severity: int) -> None:
    images, masks = (tensor.clone() for tensor in films(count=2, size=64))
    state = torch.get_rng_state()
    first = shift(name, images, masks, severity, seeded())
    second = shift(name, images, masks, severity, seeded())
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(torch.equal(one, other) for one, other in zip((images, masks), films(count=2, size=64), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert first[0].min() >= 0
    assert first[0].max() <= 1
    assert first[0].dtype == torch.float32
    assert set(first[1].flatten().tolist()) == {0.0, 1.0}


@names
def test_another_seed_differs_if_anything_is_drawn(name: str) -> None:
    images, masks = films(count=2, size=64)
    generator = seeded(0)
    before = generator.get_state()
    first, _ = shift(name, images, masks, 3, generator)
    draws = not torch.equal(generator.get_state(), before)
    second, _ = shift(name, images, masks, 3, seeded(1))
    assert torch.equal(first, second) != draws


@names
def test_batches_of_any_size_give_the_same(name: str) -> None:
    images, masks = films(count=5, size=65)
    whole = shift(name, images, masks, 4, seeded())
    generator = seeded()
    parts = [shift(name, images[i:j], masks[i:j], 4, generator) for i, j in ((0, 1), (1, 3), (3, 5))]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), whole[0], rtol=0, atol=1e-5)
    assert torch.equal(torch.cat([part[1] for part in parts]), whole[1])


@names
@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(1, 41), width=st.integers(1, 41), count=st.integers(1, 3), channels=st.sampled_from([1, 3]),
    severity=st.integers(1, 5), level=st.sampled_from([0.0, 0.5, 1.0, None]),
)  # fmt: skip
def test_any_size_any_grey(
    name: str, height: int, width: int, count: int, channels: int, severity: int, level: float | None
) -> None:
    images = torch.rand(count, channels, height, width, generator=seeded(1))
    if level is not None:
        images.fill_(level)
    for fill in (0.0, 1.0):
        masks = torch.full((count, 1, height, width), fill)
        shifted, moved = shift(name, images, masks, severity, seeded())
        assert shifted.shape == images.shape
        assert moved.shape == masks.shape
        assert ((shifted >= 0) & (shifted <= 1)).all()
        assert ((moved == 0) | (moved == 1)).all()


@names
def test_refuses_other_severities_and_what_is_no_batch_of_images(name: str) -> None:
    images, masks = films()
    severities: list[Any] = [0, 6, -1, 2.0, True, "3"]
    for severity in severities:
        with pytest.raises(ConfigError, match=f"the severity of {name} must be 1, 2, 3, 4 or 5, got"):
            shift(name, images, masks, severity, seeded())
    for wrong in (images[0], images[:0], images.double(), (images * 255).byte()):
        with pytest.raises(ShapeError, match=r"images must be float32 \(B, C, H, W\), none of them 0, got"):
            shift(name, wrong, masks, 1, seeded())


def test_unknown_name_lists_those_that_exist() -> None:
    images, masks = films()
    with pytest.raises(UnknownNameError, match=r"did you mean 'gaussian_noise'"):
        shift("gausian_noise", images, masks, 1, seeded())
    with pytest.raises(UnknownNameError, match="leads"):
        shift_and_share("lead", images, masks, 1, seeded())


@names
def test_one_drawing_gives_the_images_and_what_they_hide(name: str) -> None:
    images, masks = (tensor.clone() for tensor in films(count=2, size=64))
    masks[0] = 0
    once, twice = seeded(), seeded()
    expected = (*shift(name, images, masks, 4, twice), shift_and_share(name, images, masks, 4, seeded())[2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = shift_and_share(name, images, masks, 4, once)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(once.get_state(), twice.get_state())


@names
def test_no_value_is_read_back_from_the_device(name: str) -> None:
    images, masks = (tensor.to("meta") for tensor in films())  # has shapes, but no values that could be read
    if name in GEOMETRIC_SHIFTS:
        shifted, moved = GEOMETRIC_SHIFTS[name](images, masks, 5, seeded())
        assert moved.shape == masks.shape
    else:
        shifted = SHIFTS[name](images, 5, seeded())
    assert shifted.shape == images.shape
    assert shifted.is_meta


@pytest.mark.parametrize("name", [name for name, entry in SHIFTS.items() if entry.facts.cover])
def test_covered_share_counts_pixels_that_no_longer_depend_on_the_image(name: str) -> None:
    images, masks = films(size=256)
    black, white = (SHIFTS[name](torch.full_like(images, grey), 5, seeded()) for grey in (0.0, 1.0))
    # More than half opaque: of the step from black to white less than half is left (leads blend by 0.75 only).
    left = 1 - 0.75 * 0.5 if name == "leads" else 0.5
    for region in (masks, torch.ones_like(masks)):
        expected = ((white - black < left - 1e-6) & (region > 0)).sum(dim=(1, 2, 3)) / region.sum(dim=(1, 2, 3))
        share = shift_and_share(name, images, region, 5, seeded())[2]
        torch.testing.assert_close(share, expected, rtol=0, atol=1e-6)
        assert (shift_and_share(name, images, region, 1, seeded())[2] <= share).all()
    assert (share > 0).all()
    assert shift_and_share(name, images, masks, 5, seeded())[2].mean() < 0.1


def test_nothing_is_covered_by_the_others_and_nothing_of_an_empty_mask() -> None:
    images, masks = films()
    assert shift_and_share("jpeg", images, masks, 5, seeded())[2].tolist() == [0.0] * len(masks)
    assert shift_and_share("leads", images, torch.zeros_like(masks), 5, seeded())[2].isnan().all()


@pytest.mark.gpu
@names
def test_the_same_on_a_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    images, masks = films()
    here = shift(name, images, masks, 3, seeded())
    there = shift(name, images.cuda(), masks.cuda(), 3, seeded())
    # A coefficient of jpeg or a mask pixel half-way between two may round the other way.
    assert ((here[0] - there[0].cpu()).abs() > 1e-5).float().mean() < 1e-3
    assert (here[1] != there[1].cpu()).float().mean() < 1e-3
