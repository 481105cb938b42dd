"""Batches from a pack, whose pixels lie in its memory map, in RAM or on the GPU; no worker process is needed."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from trustseg.data.pack import Pack
from trustseg.data.resizing import IGNORED
from trustseg.errors import ConfigError, is_out_of_memory
from trustseg.masks import ignoring
from trustseg.randomness import derived_generator

__all__ = [
    "Batch",
    "CachedPack",
    "EpochShuffle",
    "PackRows",
    "Residence",
    "as_images",
    "cache_pack",
    "pack_loader",
    "padding_of",
]

Batch = dict[str, Tensor]
Residence = Literal["auto", "gpu", "ram", "mmap"]

SHARE: Final = 0.5  # of the GPU's free memory; the network needs the rest
CHUNK: Final = 256  # images copied at a time, so that the host holds no second copy of the pack
_MEGABYTE: Final = 2**20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CachedPack:
    """All images (N, C, S, S) and masks (N, 1, S, S) of a pack, uint8, in the memory of one device."""

    images: Tensor
    masks: Tensor


def cache_pack(pack: Pack, residence: Residence, *, device: torch.device) -> Pack | CachedPack:
    """Return a pack moved to where ``residence`` wants it: batches are the same, bit for bit, wherever pixels lie.

    Args:
        pack: what to move.
        residence: ``mmap``: the pack itself, which the system reads and caches; ``ram``: a copy in RAM, for packs on a
            slow disk; ``gpu``: a copy on ``device``; ``auto``: ``gpu`` where ``device`` is one of CUDA, and ``mmap``
            where it is not, or, with a line in the log, where the copy would take more than half of its free memory.
        device: where the training computes.
    """
    if residence == "mmap" or (residence == "auto" and device.type != "cuda"):
        return pack
    if residence == "ram":
        return _copied(pack, torch.device("cpu"))
    if residence == "gpu":
        if device.type == "cpu":
            raise ConfigError("data.residence=gpu, but this training runs on the CPU; set data.residence=auto")
        return _copied(pack, device)
    torch.cuda.empty_cache()  # else what this process keeps for later would count as taken
    needed, free = _bytes(pack), torch.cuda.mem_get_info(device)[0]
    if needed <= SHARE * free:
        try:
            return _copied(pack, device)
        except ConfigError:  # another process took that memory meanwhile
            reason = "but copying them to the GPU ran out of memory"
    else:
        reason = f"more than half of the {free // _MEGABYTE} MB that are free on the GPU"
    _log.warning("the images take %d MB, %s; they are read from the pack", needed // _MEGABYTE, reason)
    return pack


@dataclass(frozen=True, eq=False)
class PackRows(Dataset[Batch]):
    """Some rows of a pack, or of its copy on a device, gathered a batch at a time."""

    pack: Pack | CachedPack
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        """Return a batch of one image."""
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return ``images`` (B, C, H, W) and ``masks`` (B, 1, H, W) of 0, 1 and 255 (ignored), uint8, where they lie.

        ``rows`` (B,), indices into the pack, are on the CPU. Masks are all ignored where there is no reference.
        """
        rows = self.rows[np.asarray(positions)]
        if isinstance(self.pack, Pack):
            images, masks = (torch.from_numpy(np.asarray(each[rows])) for each in (self.pack.images, self.pack.masks))
        else:
            indices = torch.from_numpy(rows).to(self.pack.images.device, non_blocking=True)
            images, masks = (each.index_select(0, indices) for each in (self.pack.images, self.pack.masks))
        return {"images": images, "masks": masks, "rows": torch.from_numpy(rows)}


class EpochShuffle(Sampler[int]):
    """A new order of ``length`` rows every epoch, given by the seed of the run and the epoch alone."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next; the Trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = derived_generator(self.seed, "order", self.epoch)
        return iter(torch.randperm(self.length, generator=generator).tolist())


def pack_loader(
    pack: Pack | CachedPack, rows: NDArray[np.int64], *, batch_size: int, shuffle_seed: int | None = None
) -> DataLoader[Batch]:
    """Return an iterator over batches of the given rows of a pack, or of its copy in memory.

    Args:
        pack: where images and masks are.
        rows: indices into the pack.
        batch_size: images per batch; a shuffled loader leaves out a last batch of another size if there is a full one.
        shuffle_seed: seed of the order; ``None`` keeps the order of ``rows``.
    """
    dataset = PackRows(pack, rows)
    sampler = None if shuffle_seed is None else EpochShuffle(len(dataset), shuffle_seed)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=sampler is not None and len(dataset) >= batch_size,
        collate_fn=lambda batch: batch,
        generator=torch.Generator(),  # else every start of an epoch draws from the global state
    )


def padding_of(batch: Batch) -> Tensor:
    """Return which pixels (B, 1, H, W) are padding, 0 or 1: black and ignored in whole rows or columns from an edge."""
    blank = (batch["masks"] == IGNORED) & (batch["images"] == 0).all(dim=1, keepdim=True)
    padding = torch.zeros_like(blank)
    for along, across in ((2, 3), (3, 2)):
        lines = blank.all(dim=across, keepdim=True).to(torch.uint8)
        edges = lines.cumprod(dim=along) | lines.flip(along).cumprod(dim=along).flip(along)
        padding |= edges.bool()
    return padding.float()


def as_images(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return images (B, C, H, W) float32 in [0, 1] and masks (B, 1, H, W) float32 in {0, 1}, NaN where ignored."""
    return batch["images"].float() / 255, ignoring(batch["masks"], IGNORED)


def _copied(pack: Pack, device: torch.device) -> CachedPack:
    try:
        return CachedPack(_copy(pack.images, device), _copy(pack.masks, device))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        place = "gpu" if device.type != "cpu" else "ram"
        raise ConfigError(
            f"data.residence={place} needs {_bytes(pack) // _MEGABYTE} MB, more than is free; set data.residence=mmap"
        ) from error


def _copy(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    target = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for first in range(0, len(pixels), CHUNK):
        part = np.array(pixels[first : first + CHUNK])  # a copy, as torch takes no read-only memory
        target[first : first + CHUNK] = torch.from_numpy(part)
    return target


def _bytes(pack: Pack) -> int:
    return pack.images.nbytes + pack.masks.nbytes
