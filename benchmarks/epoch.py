"""An epoch through trustseg's training against the same number of bare steps on data that is already on the device."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.scenes import BATCH, DEVICE, ON_GPU, bare_step, generated_pack, random_batch, run_of, usual_segmenter
from benchmarks.timing import Figure, seconds_of
from trustseg.data import Pack, split_cases
from trustseg.training import train

# Long enough that what an epoch costs once, its checkpoint above all, has the share it has in a real one.
SIZE, IMAGES = (224, 6000) if ON_GPU else (96, 800)
EPOCHS = 3


class Enough(Exception):
    """All epochs that are to be measured are done."""


def figures() -> Iterator[Figure]:
    """Yield the cost of an epoch in units of bare steps, logging and checkpoint included, validation not."""
    pack = generated_pack(IMAGES, size=SIZE)
    steps = len(split_cases(pack.index).train) // BATCH
    bare = _bare_seconds(steps)
    ways = [("no augmentation", ("training.augment=false",), 1.05), ("augmentation", (), 1.15)]
    if ON_GPU:
        ways.append(("no augmentation, images in RAM", ("training.augment=false", "data.residence=ram"), None))
    for words, settings, target in ways:
        epoch = _epoch_seconds(pack, *settings)
        bare = min(bare, _bare_seconds(steps))
        details = {"steps": float(steps), "px": float(SIZE), "epoch_seconds": epoch, "bare_seconds": bare}
        yield Figure(f"an epoch / its bare steps: {words}", epoch / bare, target=target, details=details)


def _bare_seconds(steps: int) -> float:
    step, batch = bare_step(usual_segmenter(SIZE)), random_batch(SIZE)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True)  # as the training does
    try:
        step(*batch)
        return seconds_of({"bare": lambda: [step(*batch) for _ in range(steps)]}, repeats=1)["bare"]
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True


def _epoch_seconds(pack: Pack, *settings: str) -> float:
    """Return the shortest time between the ends of two epochs."""
    ends: list[float] = []

    def report(done: int, total: int) -> None:
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        if done == EPOCHS:
            raise Enough

    config = run_of(f"training.validation_every={EPOCHS + 1}", f"training.epochs={EPOCHS + 1}", *settings, size=SIZE)
    with tempfile.TemporaryDirectory() as folder, suppress(Enough):
        train(config, pack, Path(folder), report=report)
    return min(later - earlier for earlier, later in pairwise(ends))
