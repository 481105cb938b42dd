"""A training by the real Trainer whose steps are timed one by one."""

import logging
import time
from collections.abc import Sequence
from statistics import median

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from trustseg.config import RunConfig
from trustseg.data import Pack
from trustseg.data.batches import Batch, as_images, pack_loader
from trustseg.models import build_segmenter
from trustseg.training.cost import Cost
from trustseg.training.module import SegmentationModule


def now() -> float:
    """Return the time in seconds, once a GPU has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the quotients of what was measured side by side."""
    return median(one / other for one, other in zip(above, below, strict=True))


class TimedRun(pl.Callback):
    """One training of a U-Net whose steps are timed, each after ``look``, which is not counted to it.

    Args:
        pack: all of its images are trained on.
        config: the run; the batch and the image size are its.
        epochs: how many are trained; the first is not kept.
        encoder: of the U-Net.

    Attributes:
        seconds: of the steps of each epoch but the first.
        passes: what ``Cost`` counted in the last epoch.
    """

    def __init__(self, pack: Pack, config: RunConfig, *, epochs: int, encoder: str = "resnet18") -> None:
        torch.manual_seed(0)
        segmenter = build_segmenter(
            architecture="unet",
            encoder=encoder,
            head=config.model.head,
            size=config.data.size,
            depth=config.model.depth,
        )
        self.module = SegmentationModule(segmenter.to(memory_format=torch.channels_last), config, images=len(pack))
        rows = np.arange(len(pack))
        self.loader = pack_loader(pack, rows, batch_size=config.training.batch_size, shuffle_seed=0)
        self.epochs = epochs
        self.cost = Cost(segmenter.network)
        self.seconds: list[float] = []
        self.passes: dict[str, float] = {}

    def fit(self) -> None:
        """Train."""
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its advice, at each run again
        trainer = pl.Trainer(
            accelerator="auto",
            devices=1,
            max_epochs=self.epochs,
            callbacks=[self, self.cost],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(self.module, self.loader)

    def look(self, images: Tensor, masks: Tensor) -> None:
        """Measure something else on the batch before it is trained on."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a new sum."""
        self._spent = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Look at the batch and start the clock."""
        self.look(*as_images(batch))
        self._since = now()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Stop the clock."""
        self._spent += now() - self._since

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the sum, but not that of the first epoch, in which memory has nothing to remember."""
        if trainer.current_epoch > 0:
            self.seconds.append(self._spent)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what was counted."""
        counted = trainer.callback_metrics
        self.passes = {name: float(counted[name]) for name in ("forward_passes", "backward_passes")}
