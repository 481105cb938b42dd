"""Batches from a pack: rows are gathered where its pixels lie, nothing is decoded and no worker process is needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from trustseg.data.pack import Pack
from trustseg.data.residence import CachedPack, gathered
from trustseg.data.resizing import IGNORED
from trustseg.masks import ignoring
from trustseg.randomness import derived_generator

__all__ = ["Batch", "EpochShuffle", "PackRows", "as_images", "pack_loader", "padding_of"]

Batch = dict[str, Tensor]


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
        images, masks = gathered(self.pack, rows)
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
    """Return an iterator over batches of the given rows of a pack, or of what ``residing`` made of it.

    Args:
        pack: where images and masks are.
        rows: indices into the pack.
        batch_size: images a batch; a shuffled loader leaves out a last batch of another size if there is a full one.
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
