import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.evaluation.packs import pack_of

from trustseg.data.module import EpochShuffle, PackRows, as_images, pack_loader, padding_of
from trustseg.data.resizing import IGNORED, image_area, resize_image, resize_mask
from trustseg.randomness import derived_generator

ROWS = np.array([6, 0, 3, 5, 1], dtype=np.int64)


def order_of(rows: NDArray[np.int64], *, epoch: int, seed: int = 7, batch_size: int = 2) -> list[list[int]]:
    """Return the rows of each batch, from a loader made anew, as after a restart."""
    loader = pack_loader(pack_of(), rows, batch_size=batch_size, shuffle_seed=seed)
    assert isinstance(loader.sampler, EpochShuffle)
    loader.sampler.set_epoch(epoch)
    return [batch["rows"].tolist() for batch in loader]


# --- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_holds_the_pixels_of_its_rows(channels: int) -> None:
    pack = pack_of(channels=3 if channels == 3 else 1)
    batch = PackRows(pack, ROWS).__getitems__([4, 0, 0])
    assert batch["rows"].tolist() == [1, 6, 6]
    np.testing.assert_array_equal(batch["images"].numpy(), pack.images[[1, 6, 6]])
    np.testing.assert_array_equal(batch["masks"].numpy(), pack.masks[[1, 6, 6]])
    assert batch["images"].dtype == batch["masks"].dtype == torch.uint8
    assert batch["images"].shape == (3, channels, 32, 32)
    assert PackRows(pack, ROWS)[2]["rows"].tolist() == [3]
    assert PackRows(pack, ROWS)[2]["images"].shape == (1, channels, 32, 32)


def test_images_and_masks_are_floats_in_range() -> None:
    batch = PackRows(pack_of(), ROWS).__getitems__(range(5))
    batch["images"][0, 0, 0, :3] = torch.tensor([0, 51, 255], dtype=torch.uint8)
    images, masks = as_images(batch)
    assert images.dtype == masks.dtype == torch.float32
    torch.testing.assert_close(images[0, 0, 0, :3], torch.tensor([0.0, 0.2, 1.0]))
    assert set(masks.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal((images * 255).round().to(torch.uint8), batch["images"])


def test_the_padding_of_a_batch_is_what_its_images_do_not_cover() -> None:
    for width, height in ((20, 10), (7, 30), (16, 16)):
        image, mask = np.full((height, width), 9, np.uint8), np.full((height, width), IGNORED, np.uint8)
        image[0, 0] = 0  # void and black, but no padding
        area = image_area(width, height, size=16, fit="pad")
        square = np.zeros((16, 16), bool)
        square[area.slices] = True
        images, masks = resize_image(image, 16, "pad"), resize_mask(mask, 16, "pad")
        batch = {"images": torch.from_numpy(images)[None, None], "masks": torch.from_numpy(masks)[None, None]}
        np.testing.assert_array_equal(padding_of(batch)[0, 0].numpy(), ~square)


# --- order -----------------------------------------------------------------------------------------------------------


def test_without_a_seed_rows_come_in_order_and_none_is_left_out() -> None:
    batches = [batch["rows"].tolist() for batch in pack_loader(pack_of(), ROWS, batch_size=2)]
    assert batches == [[6, 0], [3, 5], [1]]


def test_the_order_is_that_of_seed_and_epoch_alone() -> None:
    expected = ROWS[torch.randperm(5, generator=derived_generator(7, "order", 3)).numpy()].tolist()
    assert order_of(ROWS, epoch=3) == [expected[:2], expected[2:4]]
    orders = [order_of(ROWS, epoch=epoch) for epoch in range(12)]
    assert len(set(map(str, orders))) > 6
    assert len({row for order in orders for row in set(ROWS.tolist()).difference(*order)}) > 2  # left out by turns
    rows = np.arange(8, dtype=np.int64)
    assert sorted(row for batch in order_of(rows, epoch=1) for row in batch) == rows.tolist()
    assert order_of(rows, epoch=0, seed=7) != order_of(rows, epoch=0, seed=8)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [(5, 2, [2, 2]), (4, 2, [2, 2]), (1, 2, [1]), (2, 3, [2]), (3, 3, [3]), (5, 1, [1] * 5)],
)
def test_a_shuffled_loader_leaves_out_a_rest_but_never_everything(
    count: int, batch_size: int, sizes: list[int]
) -> None:
    batches = order_of(np.arange(count, dtype=np.int64), epoch=0, batch_size=batch_size)
    assert [len(batch) for batch in batches] == sizes
    loader = pack_loader(pack_of(), np.arange(count, dtype=np.int64), batch_size=batch_size, shuffle_seed=0)
    assert len(loader) == len(sizes)


def test_iterating_draws_nothing_from_the_global_state() -> None:
    before = torch.random.get_rng_state()
    for seed in (None, 3):
        assert list(pack_loader(pack_of(), ROWS, batch_size=2, shuffle_seed=seed))
    assert torch.equal(before, torch.random.get_rng_state())
