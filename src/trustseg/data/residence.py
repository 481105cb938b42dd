"""Where images and masks lie while batches are made: in the pack's memory map, in RAM or on the GPU."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trustseg.data.pack import Pack
from trustseg.errors import ConfigError, is_out_of_memory

__all__ = ["CachedPack", "Residence", "gathered", "residing"]

Residence = Literal["auto", "gpu", "ram", "mmap"]

SHARE: Final = 0.5  # of the GPU's free memory; the network needs the rest
CHUNK: Final = 256  # images copied at a time, so that the host holds no second copy of the pack
MEGABYTE: Final = 2**20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CachedPack:
    """All images (N, C, S, S) and masks (N, 1, S, S) of a pack, uint8, in the memory of one device."""

    images: Tensor
    masks: Tensor


def residing(pack: Pack, residence: Residence, *, device: torch.device) -> Pack | CachedPack:
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
        with suppress(ConfigError):  # where another process took that memory meanwhile
            return _copied(pack, device)
    _log.warning(
        "the images take %d MB, more than half of the %d MB that are free on the GPU; they are read from the pack",
        needed // MEGABYTE,
        free // MEGABYTE,
    )
    return pack


def gathered(source: Pack | CachedPack, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return images (B, C, S, S) and masks (B, 1, S, S), uint8, of some rows, on the device where they lie."""
    if isinstance(source, Pack):
        return torch.from_numpy(np.asarray(source.images[rows])), torch.from_numpy(np.asarray(source.masks[rows]))
    indices = torch.from_numpy(rows).to(source.images.device, non_blocking=True)
    return source.images.index_select(0, indices), source.masks.index_select(0, indices)


def _copied(pack: Pack, device: torch.device) -> CachedPack:
    try:
        return CachedPack(_copy(pack.images, device), _copy(pack.masks, device))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        place = "gpu" if device.type != "cpu" else "ram"
        raise ConfigError(
            f"data.residence={place} needs {_bytes(pack) // MEGABYTE} MB, more than is free; set data.residence=mmap"
        ) from error


def _copy(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    target = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for first in range(0, len(pixels), CHUNK):
        part = np.array(pixels[first : first + CHUNK])  # a copy, as torch takes no read-only memory
        target[first : first + CHUNK] = torch.from_numpy(part)
    return target


def _bytes(pack: Pack) -> int:
    return pack.images.nbytes + pack.masks.nbytes
