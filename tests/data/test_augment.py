import random

import numpy as np
import pytest
import torch
from torch import Tensor

from trustseg.data.augment import augmented, pipeline


def disc(size: int = 64, *, centre: tuple[float, float] = (28.0, 36.0), radius: float = 12.0) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    return inside.float().view(1, 1, size, size)


def test_ignored_pixels_move_along() -> None:
    masks, void = disc().expand(8, 1, 64, 64), disc(centre=(40.0, 20.0), radius=9.0).bool()
    for seed in range(5):
        images = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
        _, plain = augmented(images, masks.contiguous(), seed=seed)
        _, moved = augmented(images, masks.masked_fill(void, torch.nan), seed=seed)
        _, where = augmented(images, void.float().expand_as(masks).contiguous(), seed=seed)
        assert torch.equal(moved.isnan(), where == 1)
        assert torch.equal(moved[where == 0], plain[where == 0])


def test_areas_change_as_little_as_promised() -> None:
    """Scales of 0.9 to 1.1 change the area of a lesion inside the image by a factor of 0.81 to 1.21."""
    masks = disc(centre=(32, 32), radius=10).expand(64, 1, 64, 64).contiguous()
    _, moved = augmented(masks, masks, seed=1)
    factors = moved.sum(dim=(1, 2, 3)) / masks.sum(dim=(1, 2, 3))
    assert 0.75 < float(factors.min()) < 0.95
    assert 1.05 < float(factors.max()) < 1.28


def test_images_of_a_batch_get_views_of_their_own() -> None:
    images = disc().expand(8, 1, 64, 64).contiguous()
    views, _ = augmented(images, images, seed=0)
    different = sum(not torch.equal(views[0], view) for view in views[1:])
    assert different >= 6


def test_the_same_seed_gives_the_same_bits() -> None:
    images, masks = torch.rand(4, 1, 33, 47), disc(33)[..., :33, :].expand(4, 1, 33, 33)
    masks = torch.nn.functional.pad(masks, (0, 14))
    first, other, again = (augmented(images, masks, seed=seed) for seed in (2**62, 3, 2**62))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_global_random_states_and_the_inputs_are_left_alone() -> None:
    images, masks = torch.rand(4, 1, 32, 32), (torch.rand(4, 1, 32, 32) > 0.5).float()
    copies = images.clone(), masks.clone()
    random.seed(1)
    np.random.seed(1)
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # a tuple, as legacy=True
    augmented(images, masks, seed=0)
    after = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # a tuple, as legacy=True
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.equal(images, copies[0])
    assert torch.equal(masks, copies[1])


@pytest.mark.parametrize("shape", [(16, 1, 64, 64), (16, 3, 33, 50), (16, 1, 2, 7), (1, 1, 32, 32)])
def test_views_are_those_of_kornia(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=generator)
    masks = (torch.rand(images[:, :1].shape, generator=generator) > 0.7).float()
    for seed in range(10):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            expected, followed = pipeline()(images, masks)
        views, moved = augmented(images, masks, seed=seed)
        assert (views.shape, moved.shape, moved.dtype) == (images.shape, masks.shape, masks.dtype)
        assert set(moved.flatten().tolist()) <= {0.0, 1.0}
        assert torch.allclose(views, expected.clamp(0, 1), atol=1e-4)
        assert float((moved != followed).float().mean()) < 1e-3  # a pixel right between two may go to either


def test_autocast_changes_nothing() -> None:
    images, masks = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)), disc().repeat(4, 1, 1, 1)
    plain = augmented(images, masks, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        cast = augmented(images, masks, seed=1)
    assert all(torch.equal(one, other) for one, other in zip(plain, cast, strict=True))
