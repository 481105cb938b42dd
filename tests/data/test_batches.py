"""Batches are the same bit for bit wherever the pixels lie; what does not fit is told in a sentence."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.evaluation.packs import pack_of

from trustseg.data import Pack, open_dataset, write_phantoms
from trustseg.data.batches import (
    CachedPack,
    EpochShuffle,
    PackRows,
    Residence,
    as_images,
    cache_pack,
    pack_loader,
    padding_of,
)
from trustseg.data.resizing import IGNORED, image_area, resize_image, resize_mask
from trustseg.errors import ConfigError, is_out_of_memory
from trustseg.randomness import derived_generator

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
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


# --- where the pixels lie -------------------------------------------------------------------------------------------


def batches_of(source: Pack | CachedPack, *, seed: int | None) -> list[dict[str, torch.Tensor]]:
    return list(pack_loader(source, ROWS, batch_size=2, shuffle_seed=seed))


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("residence", ["auto", "ram", "mmap"])
def test_batches_are_the_same_wherever_the_pixels_lie(
    residence: Residence, seed: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    pack = pack_of()
    expected, source = batches_of(pack, seed=seed), cache_pack(pack, residence, device=CPU)
    assert (source is pack) == (residence != "ram")  # without a GPU nothing is copied
    for _ in range(2):
        found = batches_of(source, seed=seed)
        assert len(found) == len(expected) > 1
        for one, other in zip(found, expected, strict=True):
            assert one.keys() == other.keys()
            for name, values in one.items():
                assert values.dtype == other[name].dtype
                assert torch.equal(values, other[name])
                values.fill_(0)  # which does not touch what is held
    assert not caplog.records


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("residence", ["auto", "gpu"])
def test_batches_on_a_gpu_are_the_same_too(residence: Residence) -> None:
    pack = pack_of()
    held = cache_pack(pack, residence, device=CUDA)
    for one, other in zip(batches_of(held, seed=7), batches_of(pack, seed=7), strict=True):
        assert one["images"].device == one["masks"].device == CUDA
        assert all(torch.equal(values.cpu(), other[name]) for name, values in one.items())


def test_a_map_of_a_file_is_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trustseg.data.batches.CHUNK", 3)  # a last chunk that is not full
    source = write_phantoms(tmp_path / "phantoms", train=7, test=0, control=0, size=32)
    pack = open_dataset(source, size=32)
    held = cache_pack(pack, "ram", device=CPU)
    assert isinstance(held, CachedPack)
    np.testing.assert_array_equal(held.images.numpy(), pack.images)
    np.testing.assert_array_equal(held.masks.numpy(), pack.masks)


@pytest.fixture
def gpu_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what gives the CPU's memory out as that of a GPU with so many free bytes."""

    def pretend(free: int) -> None:
        def copied(pixels: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
            assert device == CUDA
            if pixels.nbytes > free:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return torch.from_numpy(np.array(pixels))

        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10 * free))
        monkeypatch.setattr("trustseg.data.batches._copy", copied)

    return pretend


def test_images_go_to_a_gpu_of_which_they_take_half_at_most(
    gpu_of: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    pack = pack_of()
    needed = pack.images.nbytes + pack.masks.nbytes
    gpu_of(2 * needed)
    assert isinstance(cache_pack(pack, "auto", device=CUDA), CachedPack)
    assert not caplog.records
    gpu_of(2 * needed - 1)
    with caplog.at_level(logging.WARNING):
        assert cache_pack(pack, "auto", device=CUDA) is pack
    (record,) = caplog.records
    assert "more than half of the" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert isinstance(cache_pack(pack, "gpu", device=CUDA), CachedPack)  # who asks for it may take all


def test_memory_that_another_process_takes_meanwhile(
    gpu_of: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pack = pack_of()
    gpu_of(1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**30))
    with caplog.at_level(logging.WARNING):
        assert cache_pack(pack, "auto", device=CUDA) is pack
    assert "copying them to the GPU ran out of memory" in caplog.text
    assert "more than half" not in caplog.text


def test_images_that_do_not_fit(gpu_of: Callable[[int], None]) -> None:
    pack = pack_of()
    with pytest.raises(ConfigError, match=r"data\.residence=gpu.* set data\.residence=auto"):
        cache_pack(pack, "gpu", device=CPU)  # none is there
    gpu_of(100)
    assert cache_pack(pack, "auto", device=CUDA) is pack
    with pytest.raises(ConfigError, match=r"data\.residence=gpu needs 0 MB.*more than is free.*residence=mmap"):
        cache_pack(pack, "gpu", device=CUDA)


@pytest.mark.parametrize(
    ("error", "of_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("something else"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_and_other_errors_stay(
    monkeypatch: pytest.MonkeyPatch, error: Exception, of_memory: bool
) -> None:
    def full(*shape: object, **options: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(ConfigError if of_memory else type(error)) as caught:
        cache_pack(pack_of(), "ram", device=CPU)
    assert ("data.residence=ram needs 0 MB" in str(caught.value)) == of_memory
    assert is_out_of_memory(error) is of_memory
