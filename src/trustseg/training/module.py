"""The LightningModule: it wires the parts together and holds none of them."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trustseg.attacks import pgd
from trustseg.config import RunConfig
from trustseg.data.augment import augmented
from trustseg.data.module import Batch, as_images
from trustseg.losses import annealed, segmentation_loss, vacuity_correction
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.randomness import derive_seed, derived_generator
from trustseg.training.adversarial import MixedBatch, eps_at, mixed_batch

__all__ = ["SegmentationModule", "learning_rate_factor"]


def learning_rate_factor(epoch: int, *, epochs: int, warmup: int = 2) -> float:
    """Return the share of the peak learning rate in an epoch: a short linear rise, then half a cosine down to 1 %.

    Args:
        epoch: counted from 0.
        epochs: epochs in all.
        warmup: epochs of the rise.
    """
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    progress = (epoch - warmup) / max(1, epochs - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(1.0, progress)))))


class SegmentationModule(pl.LightningModule):
    """Trains a segmenter, with or without adversarial examples.

    Validation logs ``validation_dice`` (clean), ``validation_robust_dice`` (PGD at the full budget, never that of the
    warm-up) and ``validation_score``, which chooses the best epoch; all are means of per-image Dice.

    Args:
        segmenter: the model to train.
        config: the run.
    """

    def __init__(self, segmenter: Segmenter, config: RunConfig) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.config = config
        head = config.model.head
        self.data_term = config.loss.beta if head == "beta" else config.loss.bernoulli
        measure = config.adversarial.measure
        self.measure = measure.beta if head == "beta" else measure.bernoulli
        self._validated: list[dict[str, Tensor]] = []

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union of return types
        """Return AdamW and its schedule by epoch."""
        training = self.config.training
        optimizer = AdamW(
            self.segmenter.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        schedule = LambdaLR(optimizer, lambda epoch: learning_rate_factor(epoch, epochs=training.epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Set the global seed, which only dropout inside a network draws from, by epoch and batch alone.

        Once an epoch would not do: the Trainer makes its iterators, which draw too, before or after an epoch's start.
        """
        where = (self.current_epoch, batch_index, self.global_rank)
        torch.manual_seed(derive_seed(self.config.training.seed, "dropout", *where))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient to its largest norm; one that is not finite would spoil the weights in silence."""
        norm = clip_grad_norm_(self.segmenter.parameters(), self.config.training.clip_norm)
        if not bool(norm.isfinite()):
            raise FloatingPointError(
                f"the gradient of epoch {self.current_epoch} is not finite, a finite one was expected; "
                "lower training.learning_rate or loss.kl_weight"
            )

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one step on the mixed batch."""
        epoch, seed = self.current_epoch, self.config.training.seed
        images, masks = as_images(batch)
        if self.config.training.augment:
            view = derive_seed(seed, "augment", epoch, batch_index, self.global_rank)
            images, masks = augmented(images, masks, seed=view)
        mixed = self._mixed(images, masks, batch_index)
        options = self.config.loss
        kl_weight = vacuity_weight = 0.0
        if self.config.model.head == "beta":
            kl_weight = annealed(options.kl_weight, epoch=epoch, epochs=options.kl_epochs, schedule=options.kl_schedule)
            vacuity_weight = options.vacuity_correction
        belief = self.segmenter.belief(mixed.images)
        losses = segmentation_loss(
            belief,
            mixed.masks,
            data_term=self.data_term,
            kl_weight=kl_weight,
            vacuity_weight=vacuity_weight,
            dice_weight=options.dice_weight,
            balance=options.balance,
        )
        self._log_step(losses.detach(), mixed, kl_weight)
        if vacuity_weight > 0:  # by itself, for it falls without bound
            correction = vacuity_correction(belief, mixed.masks, balance=options.balance).detach().mean()
            self.log("train_vacuity_correction", correction, on_step=False, on_epoch=True, batch_size=len(losses))
        return mixed.mean(losses)

    def _mixed(self, images: Tensor, masks: Tensor, batch_index: int) -> MixedBatch:
        options = self.config.adversarial
        eps = self._eps()
        if eps == 0:
            nobody = torch.zeros(0, dtype=torch.long, device=images.device)
            return MixedBatch(images, masks, torch.ones(len(images), device=images.device), nobody)
        stream = ("attack", self.current_epoch, batch_index, self.global_rank)
        return mixed_batch(
            self.segmenter,
            images,
            masks,
            selection=options.selection,
            fraction=options.fraction,
            mode=options.mode,
            weight=options.weight,
            attack=options.attack,
            eps=eps,
            steps=options.steps,
            objective=options.objective,
            measure=self.measure,
            aggregation=options.aggregation,
            generator=derived_generator(self.config.training.seed, *stream),
        )

    def _eps(self) -> float:
        options = self.config.adversarial
        if options.selection == "none":
            return 0.0
        return eps_at(
            self.current_epoch,
            eps=options.eps,
            warmup_epochs=options.warmup_epochs,
            ramp_epochs=options.ramp_epochs,
        )

    def _log_step(self, losses: Tensor, mixed: MixedBatch, kl_weight: float) -> None:
        if not bool(torch.isfinite(losses).all()):
            raise FloatingPointError(
                f"the loss of epoch {self.current_epoch} is not finite (losses {losses.tolist()}); "
                "a finite loss was expected; lower training.learning_rate or loss.kl_weight"
            )
        clean_count = len(losses) - len(mixed.attacked)
        means: dict[str, Tensor | float] = {
            "train_loss": mixed.mean(losses),
            "kl_weight": kl_weight,
            "eps": self._eps(),
        }
        if clean_count:
            means["train_loss_clean"] = losses[:clean_count].mean()
        if len(mixed.attacked):
            means["train_loss_adversarial"] = losses[clean_count:].mean()
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=len(losses))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Measure per-image Dice, clean and under PGD at the full budget."""
        images, masks = as_images(batch)
        attacked = pgd(
            self.segmenter,
            images,
            masks,
            eps=self.config.adversarial.eps,
            steps=self.config.training.validation_steps,
            generator=derived_generator(self.config.training.seed, "validation", batch_index, self.global_rank),
        )
        with torch.no_grad():
            found = {
                "validation_dice": dice(self.segmenter.belief(images).log_odds > 0, masks),
                "validation_robust_dice": dice(self.segmenter.belief(attacked).log_odds > 0, masks),
            }
        self._validated.append(found)

    def on_validation_epoch_end(self) -> None:
        """Log the means over images whose Dice is defined, and the score that chooses the best epoch."""
        means = {
            name: torch.cat([found[name] for found in self._validated]).nanmean()
            for name in ("validation_dice", "validation_robust_dice")
        }
        self._validated.clear()
        chosen = {
            "clean": means["validation_dice"],
            "robust": means["validation_robust_dice"],
            "both": (means["validation_dice"] + means["validation_robust_dice"]) / 2,
        }
        monitor = self.config.training.monitor
        means["validation_score"] = chosen["both" if monitor == "last" else monitor]
        self.log_dict(means, sync_dist=True, prog_bar=True)
