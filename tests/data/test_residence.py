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
from trustseg.data.module import pack_loader
from trustseg.data.residence import CachedPack, Residence, residing
from trustseg.errors import ConfigError, is_out_of_memory

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
ROWS = np.array([6, 0, 3, 5, 1], dtype=np.int64)


def batches_of(source: Pack | CachedPack, *, seed: int | None) -> list[dict[str, torch.Tensor]]:
    return list(pack_loader(source, ROWS, batch_size=2, shuffle_seed=seed))


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("residence", ["auto", "ram", "mmap"])
def test_batches_are_the_same_wherever_the_pixels_lie(
    residence: Residence, seed: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    pack = pack_of()
    expected, source = batches_of(pack, seed=seed), residing(pack, residence, device=CPU)
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
    held = residing(pack, residence, device=CUDA)
    for one, other in zip(batches_of(held, seed=7), batches_of(pack, seed=7), strict=True):
        assert one["images"].device == one["masks"].device == CUDA
        assert all(torch.equal(values.cpu(), other[name]) for name, values in one.items())


def test_a_map_of_a_file_is_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trustseg.data.residence.CHUNK", 3)  # a last chunk that is not full
    source = write_phantoms(tmp_path / "phantoms", train=7, test=0, control=0, size=32)
    pack = open_dataset(source, size=32)
    held = residing(pack, "ram", device=CPU)
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
        monkeypatch.setattr("trustseg.data.residence._copy", copied)

    return pretend


def test_images_go_to_a_gpu_of_which_they_take_half_at_most(
    gpu_of: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    pack = pack_of()
    needed = pack.images.nbytes + pack.masks.nbytes
    gpu_of(2 * needed)
    assert isinstance(residing(pack, "auto", device=CUDA), CachedPack)
    assert not caplog.records
    gpu_of(2 * needed - 1)
    with caplog.at_level(logging.WARNING):
        assert residing(pack, "auto", device=CUDA) is pack
    (record,) = caplog.records
    assert "more than half of the" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert isinstance(residing(pack, "gpu", device=CUDA), CachedPack)  # who asks for it may take all


def test_images_that_do_not_fit(gpu_of: Callable[[int], None]) -> None:
    pack = pack_of()
    with pytest.raises(ConfigError, match=r"data\.residence=gpu.* set data\.residence=auto"):
        residing(pack, "gpu", device=CPU)  # none is there
    gpu_of(100)
    assert residing(pack, "auto", device=CUDA) is pack
    with pytest.raises(ConfigError, match=r"data\.residence=gpu needs 0 MB.*more than is free.*residence=mmap"):
        residing(pack, "gpu", device=CUDA)


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
        residing(pack_of(), "ram", device=CPU)
    assert ("data.residence=ram needs 0 MB" in str(caught.value)) == of_memory
    assert is_out_of_memory(error) is of_memory
