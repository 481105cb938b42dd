"""What choosing whom to attack costs: epochs of adversarial training by the real Trainer, whose steps take turns."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import lightning.pytorch as pl
import torch
from torch import Tensor

from benchmarks.runs import TimedRun, now, ratio
from benchmarks.scenes import ON_GPU
from benchmarks.timing import Figure
from trustseg.config import load_run
from trustseg.data import Pack, open_dataset, write_phantoms
from trustseg.data.batches import Batch

SIZE, BATCH, IMAGES, EPOCHS = (224, 64, 512, 12) if ON_GPU else (64, 8, 64, 12)
SETTINGS = {
    "random": ("adversarial.selection=random",),
    "memory": ("adversarial.selection=uncertain", "adversarial.scores=memory"),
    "fresh": ("adversarial.selection=uncertain", "adversarial.scores=fresh"),
}


def figures(
    *, size: int = SIZE, batch: int = BATCH, images: int = IMAGES, epochs: int = EPOCHS, encoder: str = "resnet18"
) -> Iterator[Figure]:
    """Yield an epoch's cost of guided against random selection, in seconds of the median epoch.

    Args:
        size: side of the images in pixels.
        batch: images a step.
        images: images an epoch.
        epochs: how many are timed, after one that is not.
        encoder: of the U-Net.
    """
    with tempfile.TemporaryDirectory() as name:
        source = write_phantoms(Path(name) / "phantoms", train=images, test=0, control=0, size=size)
        pack = open_dataset(source, size=size)
        turns = Turns(len(SETTINGS))
        runs = [
            Run(pack, settings, turns, place, size=size, batch=batch, epochs=epochs + 1, encoder=encoder)
            for place, settings in enumerate(SETTINGS.values())
        ]
        turns.play(runs)
    random, memory, fresh = runs
    seconds = {name: median(run.seconds) for name, run in zip(SETTINGS, runs, strict=True)}
    details = {f"seconds_{name}": value for name, value in seconds.items()}
    yield Figure("epoch: memory / random", ratio(memory.seconds, random.seconds), target=1.02, details=details)
    yield Figure("epoch: fresh / random", ratio(fresh.seconds, random.seconds), details=details)
    extra = fresh.passes["forward_passes"] - random.passes["forward_passes"]
    counted = [spent + extra * each for spent, each in zip(random.seconds, fresh.seconds_a_pass, strict=True)]
    details = {
        "forward_passes_random": random.passes["forward_passes"],
        "forward_passes_fresh": fresh.passes["forward_passes"],
        "seconds_a_pass": median(fresh.seconds_a_pass),
    }
    yield Figure("epoch: fresh / counted passes", ratio(fresh.seconds, counted), target=1.05, details=details)


class Turns:
    """Lets several trainings, each in a thread, take their steps one after the other.

    Args:
        players: how many there are.
    """

    def __init__(self, players: int) -> None:
        self.left = list(range(players))
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def wait(self, place: int) -> None:
        """Wait until it is the turn of ``place``.

        Raises:
            RuntimeError: if another training failed.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.error is not None or self.left[0] == place)
            if self.error is not None:
                raise RuntimeError("another training failed")

    def pass_on(self) -> None:
        """Give the turn to the next."""
        with self.changed:
            self.left.append(self.left.pop(0))
            self.changed.notify_all()

    def play(self, runs: Sequence["Run"]) -> None:
        """Let all trainings run to their end."""
        threads = [threading.Thread(target=self._play, args=(run,), daemon=True) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.error is not None:
            raise self.error

    def _play(self, run: "Run") -> None:
        try:
            run.fit()
        except BaseException as error:
            with self.changed:
                self.error = self.error or error
                self.changed.notify_all()


class Run(TimedRun):
    """One training that waits for its turn before each step, and times a forward pass of the batch.

    Attributes:
        seconds_a_pass: of one image's forward pass, in each epoch but the first.
    """

    def __init__(
        self,
        pack: Pack,
        settings: Sequence[str],
        turns: Turns,
        place: int,
        *,
        size: int,
        batch: int,
        epochs: int,
        encoder: str,
    ) -> None:
        fixed = ("adversarial.warmup_epochs=0", "adversarial.ramp_epochs=0", f"training.batch_size={batch}")
        config = load_run(None, ["model.head=beta", f"data.size={size}", *fixed, *settings])
        super().__init__(pack, config, epochs=epochs, encoder=encoder)
        self.turns, self.place = turns, place
        self.seconds_a_pass: list[float] = []

    def look(self, images: Tensor, masks: Tensor) -> None:
        """Wait for the turn, time a forward pass."""
        self.turns.wait(self.place)
        segmenter = self.module.segmenter.eval()
        since = now()
        with torch.no_grad():
            segmenter.belief(images)
        self._looked += (now() - since) / len(images)
        segmenter.train()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin new sums."""
        super().on_train_epoch_start(trainer, pl_module)
        self._looked = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Stop the clock and pass the turn on."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.turns.pass_on()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the sums."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.current_epoch > 0:
            self.seconds_a_pass.append(self._looked / len(self.loader))
