"""What the benchmarks of training and evaluation share: the device, generated images, and a bare step."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from trustseg.config import RunConfig, load_run
from trustseg.data import Pack, open_dataset, write_phantoms
from trustseg.losses import segmentation_loss
from trustseg.models import Segmenter, build_segmenter

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
BATCH = 16 if ON_GPU else 8


def generated_pack(count: int, *, size: int, distinct: int = 500) -> Pack:
    """Return ``count`` training and test images, half and half, of which no more than ``distinct`` differ."""
    with tempfile.TemporaryDirectory() as name:
        few = min(count, distinct)
        source = write_phantoms(Path(name) / "phantoms", train=few - few // 2, test=few // 2, control=0, size=size)
        pack = open_dataset(source, size=size)
        rows = np.resize(np.arange(few), count)
        index = pack.index[rows].with_row_index("row")
        again = [pl.format("{}_{}", name, "row").alias(name) for name in ("name", "patient")]
        index = index.with_columns(again).drop("row")
        images, masks = np.asarray(pack.images)[rows], np.asarray(pack.masks)[rows]
        return Pack(images, masks, index, size, pack.channels, pack.layout, f"{pack.digest} x {count}")


def run_of(*settings: str, size: int) -> RunConfig:
    """Return a clean training of the usual network on this machine's device."""
    common = (
        *(f"data.size={size}", "model.head=bernoulli", "adversarial.selection=none"),
        *(f"training.batch_size={BATCH}", f"training.accelerator={'gpu' if ON_GPU else 'cpu'}"),
    )
    return load_run(None, [*common, *settings])


def usual_segmenter(size: int, *, depth: int = 5) -> Segmenter:
    """Return a U-Net on ResNet-18 on the device, with random weights drawn from seed 0."""
    torch.manual_seed(0)
    segmenter = build_segmenter(architecture="unet", encoder="resnet18", head="bernoulli", size=size, depth=depth)
    return segmenter.to(DEVICE, memory_format=torch.channels_last)


def bare_step(segmenter: Segmenter) -> Callable[[Tensor, Tensor], None]:
    """Return what no training of this network can do without: forward, loss, backward, step."""
    segmenter.train()
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=1e-3, fused=True)

    def step(images: Tensor, masks: Tensor) -> None:
        optimizer.zero_grad()
        belief = segmenter.belief(images)
        segmentation_loss(belief, masks, data_term="binary_cross_entropy", region_weight=1.0).mean().backward()
        optimizer.step()

    return step


def random_batch(size: int) -> tuple[Tensor, Tensor]:
    """Return a batch of noise and of squares on the device, which cost what X-rays cost."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 1, size, size, generator=generator)
    masks = torch.zeros(BATCH, 1, size, size)
    masks[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    return images.to(DEVICE), masks.to(DEVICE)
