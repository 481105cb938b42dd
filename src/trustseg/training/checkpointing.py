"""Checkpoints: everything kept after an epoch, so that a training killed at any moment resumes exactly."""

import io
import math
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import lightning.pytorch as pl
import polars
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from trustseg.config.training import Monitor
from trustseg.data.training_record import EPOCH
from trustseg.errors import DataError, RunError, is_out_of_memory
from trustseg.files import read_json, replacing, write_json
from trustseg.models import Segmenter
from trustseg.progress import ProgressCallback
from trustseg.tables import write_csv
from trustseg.training.module import SegmentationModule
from trustseg.training.validation import overfitted

__all__ = ["SCORE", "AtomicCheckpointIO", "Checkpointing", "Patience", "SelectedEpoch", "selected_epoch"]

Work = Callable[[], object]

SCORE: Final = "validation_score"
OVERFITTED: Final = "validation_catastrophic_overfitting"
_CHOSEN_BY: Final[Mapping[str, str]] = {
    "clean": "best validation Dice per image",
    "robust": "best validation Dice per image under attack",
    "both": "best mean of validation Dice per image, clean and under attack",
    "last": "the last one; validation Dice per image",
}


@dataclass(frozen=True, slots=True)
class SelectedEpoch:
    """Which epoch of a training a model is of.

    Attributes:
        epoch: the epoch, counted from 1.
        trained: epochs that were trained.
        chosen_by: what chose it: validation Dice ``"clean"``, under attack (``"robust"``), the mean of ``"both"``, or
            none: ``"last"``.
        validation_score: validation Dice of that kind, the mean of those measured for ``"last"``; None if undefined.
    """

    epoch: int
    trained: int
    chosen_by: Monitor
    validation_score: float | None

    def __str__(self) -> str:
        """Return it in words."""
        score = "undefined" if self.validation_score is None else f"{self.validation_score:.3f}"
        return f"epoch {self.epoch} of {self.trained}, {_CHOSEN_BY[self.chosen_by]} {score}"


def selected_epoch(model: Path) -> SelectedEpoch | None:
    """Return which epoch the model in a folder is of, None if it is not written down; damaged, it is a DataError."""
    file = model / EPOCH
    if not file.is_file():
        return None
    match read_json(file):
        case {
            "epoch": int(epoch),
            "trained": int(trained),
            "chosen_by": str(chosen_by),
            "validation_score": float() | int() | None as score,
        } if chosen_by in _CHOSEN_BY:
            monitor = cast("Monitor", chosen_by)
            return SelectedEpoch(epoch, trained, monitor, None if score is None else float(score))
    raise DataError(f"'{file}' does not give the epoch of the model; restore it from the run")


class Checkpointing(Checkpoint):
    """Keeps the state of the training, the best model so far and the metrics of every epoch.

    After an epoch, ``checkpoints/best-EPOCH`` is written if it is the best one yet, then ``checkpoints/last.ckpt``,
    which remembers which one is best and all metrics, then ``metrics.csv`` and, where a single-step training overfitted
    to its attack, ``warnings.json`` with the epochs in which it did; both count epochs from 0. Each appears whole or
    not at all, and the former best model is deleted only after ``last.ckpt`` names the new one. If the process is
    killed, at most the last epoch and the unfinished one are lost. No path is stored, so the folder can be moved.

    Args:
        folder: the run's folder.
        report: called after each epoch with the number done and the number in all.
        monitor: what ``validation_score`` is, which selects the epoch; ``"last"``: the last one.
        defined: whether any validation image shows foreground; without, the selected epoch has no score.

    Attributes:
        later: writes one file after another, at once or in the background, see ``background_writer``.
        best_epoch: the epoch of the highest validation score, from 0; None before the first, and where none is chosen.
        best_score: its score.
        rows: the metrics of each epoch.
    """

    def __init__(
        self, folder: Path, report: ProgressCallback | None = None, *, monitor: Monitor, defined: bool
    ) -> None:
        self.folder = folder
        self.defined = defined
        self.report = report
        self.monitor = monitor
        self.later: Callable[[Work], object] = lambda work: work()
        self.best_epoch: int | None = None
        self.best_score = -math.inf
        self.rows: list[dict[str, float]] = []
        self._validated: dict[str, float] = {}

    @property
    def last(self) -> Path:
        """Return the file that a resumed training starts from."""
        return self.folder / "checkpoints" / "last.ckpt"

    def resumable(self) -> Path | None:
        """Return ``last`` if it is there; a damaged one is a RunError."""
        if not self.last.exists():
            return None
        try:
            torch.load(self.last, map_location="meta", weights_only=True, mmap=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise RunError(
                f"the checkpoint '{self.last}' is damaged ({str(error).splitlines()[0]}); delete '{self.last.parent}' "
                "to restart the training"
            ) from error
        return self.last

    def state_dict(self) -> dict[str, Any]:
        """Return what ``last.ckpt`` remembers of this callback: plain values."""
        return {"best_epoch": self.best_epoch, "best_score": self.best_score, "rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``last.ckpt`` remembers."""
        self.best_epoch = state_dict["best_epoch"]
        self.best_score = state_dict["best_score"]
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Have the last epoch validated, whatever its number."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the validation metrics; Lightning goes on showing them in epochs that are not validated."""
        metrics = trainer.callback_metrics.items()
        self._validated = {name: float(value) for name, value in metrics if name.startswith("validation_")}
        if "validation_fgsm_dice" in self._validated:
            single, double = (self._validated[f"validation_{name}_dice"] for name in ("fgsm", "pgd2"))
            self._validated[OVERFITTED] = float(overfitted(single, double))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Have everything written down as it is now."""
        epoch = trainer.current_epoch
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        trained = {name: value for name, value in metrics.items() if not name.startswith("validation_")}
        self.rows.append({"epoch": epoch, **trained, **self._validated})
        works: list[Work] = []
        if self.monitor != "last" and self._validated.get(SCORE, -math.inf) > self.best_score:
            self.best_epoch, self.best_score = epoch, self._validated[SCORE]
            if trainer.is_global_zero and isinstance(pl_module, SegmentationModule):
                best = pl_module.segmenter
                works.append(partial(best.save, self._best_folder(epoch), weights=best.weights()))
        self._validated = {}
        trainer.save_checkpoint(self.last, storage_options=works.append)  # by all processes together; one has the work
        if trainer.is_global_zero:
            works.append(partial(self._tidy, self._best_folder(self.best_epoch), list(self.rows)))
            self.later(partial(_write_all, works))
            if self.report is not None:
                self.report(epoch + 1, trainer.max_epochs or 0)

    def _tidy(self, best: Path, rows: Sequence[Mapping[str, float]]) -> None:
        """Remove the former best model; write down the metrics and what a reader of them has to know, if anything."""
        for folder in self.last.parent.glob("best-*"):
            if folder != best:
                shutil.rmtree(folder)
        write_csv(polars.DataFrame(rows, infer_schema_length=None), self.folder / "metrics.csv")
        epochs = [int(row["epoch"]) for row in rows if row.get(OVERFITTED)]
        if epochs:
            write_json(self.folder / "warnings.json", {"catastrophic_overfitting": epochs})

    def finish(self, segmenter: Segmenter) -> None:
        """Write the chosen model, or else that of the last epoch, and its epoch into ``model``; remove checkpoints."""
        epoch, score = len(self.rows) - 1, self.rows[-1].get(SCORE, math.nan)
        if self.best_epoch is not None:
            segmenter = Segmenter.load(self._best_folder(self.best_epoch))
            epoch, score = self.best_epoch, self.best_score
        kept = SelectedEpoch(
            epoch=epoch + 1,
            trained=len(self.rows),
            chosen_by="last" if self.best_epoch is None else self.monitor,
            validation_score=None if math.isnan(score) or not self.defined else score,
        )
        write_json(self.folder / "model" / EPOCH, asdict(kept))
        segmenter.save(self.folder / "model")
        shutil.rmtree(self.last.parent)

    def _best_folder(self, epoch: int | None) -> Path:
        return self.last.parent / f"best-{epoch}"


def _write_all(works: Sequence[Work]) -> None:
    """Write the files of an epoch; where memory runs out, it is not that of a step."""
    try:
        for work in works:
            work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            "not enough memory to write the checkpoint; set a smaller model.encoder or model.depth, or run fewer --jobs"
        ) from error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint to a temporary name and rename it; Lightning would fill the folder for temporary files.

    Moving it from there is no single step where that folder lies on another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all.

        A function as ``storage_options`` takes the writing, to be done later, of the state as it is now.
        """
        if callable(storage_options):
            state = apply_to_collection(checkpoint, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
            storage_options(partial(self.save_checkpoint, state, path))
            return
        content = io.BytesIO()  # torch.save to a full disk would hide the reason
        torch.save(checkpoint, content)
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: object = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Return the tensors and plain values in a file; Lightning would read ``::`` in a path as an address."""
        loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)  # type: ignore[arg-type]
        return loaded


class Patience(EarlyStopping):
    """Stop after ``patience`` validations without a better score; a training that stopped stays so when resumed."""

    def __init__(self, patience: int) -> None:
        super().__init__(SCORE, mode="max", patience=patience, check_finite=False, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once if the training was killed after it had been stopped and before its model was written."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
