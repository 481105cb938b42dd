"""One progress bar for a whole training, on stderr."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["ProgressBar"]


class ProgressBar(Callback):
    """Shows the epoch, how far the training is, and the last validation's Dice, clean and attacked."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}", style="cyan"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("training", total=None, scores="")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the bar where the training starts, which need not be its beginning."""
        if not trainer.is_global_zero:
            return
        epochs, batches = trainer.max_epochs or 0, int(trainer.num_training_batches)
        self._progress.start()
        self._progress.update(self._task, total=epochs * batches, completed=trainer.current_epoch * batches)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Count a batch."""
        done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
        self._progress.update(self._task, completed=done, description=self._epoch(trainer))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say why the bar stands still."""
        self._progress.update(self._task, description=f"{self._epoch(trainer)}, validating")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show what the validation found."""
        found = trainer.callback_metrics
        scores = f"Dice {float(found['validation_dice']):.2f}"
        if "validation_robust_dice" in found:
            scores += f", attacked {float(found['validation_robust_dice']):.2f}"
        self._progress.update(self._task, description=self._epoch(trainer), scores=scores)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the terminal as it was found."""
        self._progress.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was found."""
        self._progress.stop()

    def _epoch(self, trainer: pl.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
