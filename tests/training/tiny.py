"""Trainings that take a second: sixteen small images in memory and a network of three layers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from trustseg.config import RunConfig, load_run
from trustseg.data.pack import Pack, digest_of
from trustseg.entries import Entry
from trustseg.models import ARCHITECTURES
from trustseg.models.architectures import ArchitectureFacts
from trustseg.study import worker
from trustseg.training import train


def network(
    encoder: str, *, channels: int, outputs: int, depth: int = 5, decoder_channels: tuple[int, ...] = ()
) -> nn.Module:
    """Everything that a resumed training has to get right: weights, running statistics and dropout; of one shape."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.Conv2d(8, outputs, 3, padding=1),
    )


def as_unet(function: Callable[..., nn.Module]) -> Entry[nn.Module, ArchitectureFacts]:
    """Return the entry of ``unet`` with this function."""
    return replace(ARCHITECTURES["unet"], function=function)


def use_tiny_networks(monkeypatch: pytest.MonkeyPatch, function: Callable[..., nn.Module] = network) -> None:
    """Let ``unet`` be the network above, or another one, in this process."""
    monkeypatch.setitem(ARCHITECTURES, "unet", as_unet(function))


def pack(*, train: int = 12, test: int = 4, size: int = 32, seed: int = 0, empty: int = 0) -> Pack:
    """Bright squares on noise, each image of its own patient; the last ``empty`` training images show none."""
    rng = np.random.default_rng(seed)
    count = train + test
    masks = np.zeros((count, 1, size, size), dtype=np.uint8)
    for number, (top, left) in enumerate(rng.integers(2, size // 2, (count, 2))):
        if not train - empty <= number < train:
            masks[number, 0, top : top + size // 3, left : left + size // 3] = 1
    images = (90 + 60 * masks + rng.normal(0, 15, masks.shape)).clip(0, 255).astype(np.uint8)
    names = [f"image_{number}" for number in range(count)]
    index = pl.DataFrame(
        {
            "name": names,
            "patient": names,
            "patient_known": [False] * count,
            "split": ["train"] * train + ["test"] * test,
            "has_mask": [True] * count,
            "foreground": masks.sum(axis=(1, 2, 3)).tolist(),
            "width": [size] * count,
            "height": [size] * count,
            "sha256_pixels": [f"{number:064x}" for number in range(count)],
            "content_group": [f"{number:016x}" for number in range(count)],
        }
    )
    return Pack(images, masks, index, size, 1, "made", digest_of(index, size=size, channels=1))


def config(*settings: str) -> RunConfig:
    """A run of three epochs, the first without attacks, with everything else switched on."""
    return load_run(None, [*TINY, *settings])


TINY: Sequence[str] = (
    "data.size=32",
    "model.head=beta",
    "loss.kl_epochs=2",
    "adversarial.selection=uncertain",
    "adversarial.warmup_epochs=1",
    "adversarial.ramp_epochs=1",
    "training.epochs=3",
    "training.batch_size=4",
    "training.learning_rate=0.01",
    "training.validation_every=1",
    "training.validation_steps=2",
    "training.accelerator=cpu",
)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Return whether all weights and statistics are equal bit for bit."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def repeatable_metrics(folder: Path) -> pl.DataFrame:
    """Return a run's metrics without those that a stopwatch and the system tell, which no repetition gives again."""
    return pl.read_csv(folder / "metrics.csv").drop("seconds", "peak_memory_mb")


class Killed(Exception):
    """Something stopped the process."""


def killing_after(epoch: int) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done == epoch:
            raise Killed

    return report


def five_epochs(folder: Path) -> None:
    """Train in a process of its own, which prints each epoch that is done."""
    cast("Any", ARCHITECTURES)["unet"] = as_unet(network)  # a read-only mapping to type checkers
    train(config("training.epochs=5"), pack(), folder, report=lambda done, total: print(done, flush=True))


def tiny_worker(folder: Path) -> None:
    """Work on a study in a process of its own, with the network above."""
    cast("Any", ARCHITECTURES)["unet"] = as_unet(network)
    worker.main([str(folder)])
