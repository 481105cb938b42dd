"""The LightningModule: connects the network with attacks, losses, validation and the optimiser."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from trustseg.attacks import Objective
from trustseg.attacks.projections import gaussian
from trustseg.config import RunConfig
from trustseg.config.names import FREE
from trustseg.data.augment import augmented
from trustseg.data.batches import Batch, as_images, padding_of
from trustseg.losses import vacuity_correction
from trustseg.models import Segmenter
from trustseg.randomness import derive_seed, derived_generator
from trustseg.training.adversarial_examples import (
    FreePerturbation,
    attacked_images,
    budget_of,
    budget_within,
    divergence_from,
)
from trustseg.training.grad_align import grad_align
from trustseg.training.memory import ScoreMemory
from trustseg.training.mixed_batch import MixedBatch, choose, image_scores, mixed_batch, scores_of, selection_facts
from trustseg.training.schedules import fraction_at, learning_rate_factor, ramp_at
from trustseg.training.step_loss import StepLoss, label_loss, require_finite, select_rows, step_loss
from trustseg.training.validation import (
    WATCHED_IMAGES,
    measures_robustness,
    monitor_of,
    validated,
    validation_means,
    watch,
)
from trustseg.training.weight_perturbation import perturb, restore

__all__ = ["SegmentationModule"]


class SegmentationModule(pl.LightningModule):
    """Trains a segmenter, with or without adversarial examples, on a pack of ``images`` images.

    Validation logs ``validation_dice`` (clean), where training attacks or is chosen by it ``validation_robust_dice``
    (PGD at the full budget, never that of the warm-up), and ``validation_score``, which chooses the best epoch; all are
    means of per-image Dice. Where single-step training is watched, it adds what ``watch`` finds on the first validation
    images.
    """

    def __init__(self, segmenter: Segmenter, config: RunConfig, *, images: int) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.config = config
        options = config.adversarial
        measure = options.measure.beta if config.model.head == "beta" else options.measure.bernoulli
        self._score = {"selection": options.selection, "measure": measure, "aggregation": options.aggregation}
        attacks = options.selection != "none"
        self.memory: ScoreMemory | None = None
        if attacks and options.scores == "memory" and selection_facts(options.selection).scores != "none":
            self.memory = ScoreMemory(images, refresh_epochs=options.refresh_epochs)
        self.free = FreePerturbation() if attacks and options.attack == FREE else None
        self._watching = config.training.watch and attacks and (options.attack == FREE or options.takes_one_step)
        self._validated: list[dict[str, Tensor]] = []
        self._before: dict[str, Tensor] = {}  # weights that adversarial perturbation moved
        self._finite: list[Tensor] = []  # whether the losses since the last optimiser step are
        self._attacked = 0  # images in this epoch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the remembered scores."""
        if self.memory is not None:
            checkpoint["score_memory"] = self.memory.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the remembered scores over."""
        if self.memory is not None:
            self.memory.load_state_dict(checkpoint["score_memory"])

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
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradient to its largest norm; one that is not finite would spoil the weights in silence."""
        norm = clip_grad_norm_(self.segmenter.parameters(), self.config.training.clip_norm)
        require_finite(self._finite, norm.isfinite(), epoch=self.current_epoch)
        self._finite.clear()

    def on_train_epoch_start(self) -> None:
        """Forget the perturbation of the epoch before and what it counted; remember scores where they are made."""
        if self.free is not None:
            self.free.reset()
        if self.memory is not None:
            self.memory.to(self.device)
        self._attacked = 0

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,  # noqa: ANN401 - Lightning's own wrapper or torch's optimiser
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Take one step on a batch, or as many as free adversarial training repeats it, each on passes of its own."""
        free = self.free is not None and self._eps() > 0
        for _ in range(self.config.adversarial.replays if free else 1):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one step on the mixed batch."""
        options = self.config.adversarial
        images, masks = as_images(batch)
        padding = self._padding(batch)
        if self.config.training.augment:
            stream = ("augment", self.current_epoch, batch_index, self.global_rank)
            maps = masks if padding is None else torch.cat([masks, padding], dim=1)
            images, maps = augmented(images, maps, seed=derive_seed(self.config.training.seed, *stream))
            masks, padding = maps[:, :1], None if padding is None else maps[:, 1:]
        eps = budget_within(self._eps(), padding)
        mixed = self._mixed(images, masks, batch["rows"], batch_index, eps=eps)
        if (noise := self._noise(mixed.images, "noise", self.current_epoch, batch_index)) is not None:
            mixed = replace(mixed, images=mixed.images + noise)
        labels = label_loss(self.config, epoch=self.current_epoch)
        if options.weight_perturbation > 0 and len(mixed.attacked):
            first = len(mixed.clean)
            attacked = mixed.images[first:], mixed.masks[first:]
            self._before = perturb(self.segmenter, *attacked, loss=labels, size=options.weight_perturbation)
        belief = self.segmenter.belief(mixed.images)
        loss = step_loss(
            belief,
            mixed,
            labels,
            kind=options.loss,
            alignment=options.alignment,
            pixel_weight=options.pixel_weight,
            share=self._ramp(),
        )
        if options.grad_align > 0 and len(mixed.attacked):
            chosen, generator = mixed.attacked, self._generator("grad_align", self.current_epoch, batch_index)
            penalty = grad_align(
                self.segmenter, images[chosen], masks[chosen], eps=budget_of(eps, chosen), generator=generator
            ).mean()
            self._log_means({"train_grad_align": penalty.detach()}, len(chosen))
            loss = replace(loss, total=loss.total + options.grad_align * penalty)
        self._log_step(loss, mixed)
        if labels.vacuity_weight > 0:  # by itself, for it falls without bound
            correction = vacuity_correction(belief, mixed.masks, balance=labels.balance).detach().mean()
            self._log_means({"train_vacuity_correction": correction}, len(mixed.images))
        if self.memory is not None:
            clean = select_rows(belief, slice(len(mixed.clean)))
            scores = scores_of(clean, mixed.masks[: len(mixed.clean)], **self._score)
            self.memory.remember(batch["rows"][mixed.clean], scores, epoch=self.current_epoch)
        return loss.total

    def on_after_backward(self) -> None:
        """Take back the perturbation of the weights and move that of the images, now that their gradients are known."""
        restore(self.segmenter, self._before)
        self._before = {}
        if self.free is not None:
            self.free.advance()

    def on_train_epoch_end(self) -> None:
        """Log what is known of the epoch as a whole, and let all processes remember the same scores."""
        labels = label_loss(self.config, epoch=self.current_epoch)
        self.log_dict({"kl_weight": labels.kl_weight, "eps": self._eps()})
        self.log("adversarial_images", float(self._attacked), reduce_fx="sum", sync_dist=True)
        if self.memory is not None:
            if (age := self.memory.mean_age()) is not None:
                self.log("score_age", age)
            if self.trainer.world_size > 1:
                self.memory.share()

    def _padding(self, batch: Batch) -> Tensor | None:
        return padding_of(batch) if self.config.data.fit == "pad" else None

    def _mixed(
        self, images: Tensor, masks: Tensor, rows: Tensor, batch_index: int, *, eps: float | Tensor
    ) -> MixedBatch:
        """Return the batch with the images of this epoch's share attacked."""
        options = self.config.adversarial
        if self._eps() == 0:
            none = torch.zeros(0, dtype=torch.long, device=images.device)
            return mixed_batch(images, masks, images[:0], attacked=none)
        if self.free is not None:
            every = torch.arange(len(images), device=images.device)
            return mixed_batch(images, masks, self.free.applied(images, eps=eps), attacked=every)
        generator = self._generator("attack", self.current_epoch, batch_index)
        chosen = choose(
            self._scores(images, masks, rows),
            selection=options.selection,
            fraction=fraction_at(self.current_epoch, options),
            threshold=options.threshold,
            generator=generator,
        ).to(images.device)
        adversarial = attacked_images(
            self.segmenter,
            images[chosen],
            masks[chosen],
            attack=options.attack,
            eps=budget_of(eps, chosen),
            steps=options.steps,
            objective=self._objective(images[chosen]),
            generator=generator,
        )
        return mixed_batch(images, masks, adversarial, attacked=chosen, mode=options.mode, weight=options.weight)

    def _noise(self, images: Tensor, stream: str, *where: int) -> Tensor | None:
        """Return noise for images; it is not clipped, as a policy that is certified by it does not clip either."""
        deviation = self.config.training.noise
        return deviation * gaussian(images, self._generator(stream, *where)) if deviation > 0 else None

    def _scores(self, images: Tensor, masks: Tensor, rows: Tensor) -> Tensor:
        """Return the scores by which images are chosen: fresh ones, or those remembered."""
        if self.memory is None:
            return image_scores(self.segmenter, images, masks, **self._score)
        return self.memory.recall(rows, epoch=self.current_epoch, selection=self.config.adversarial.selection)

    def _objective(self, images: Tensor) -> str | Objective:
        options = self.config.adversarial
        if options.objective != "divergence" or not len(images):
            return options.objective
        return divergence_from(
            self.segmenter, images, kind="mean" if options.loss in ("ev_at", "strength") else "belief"
        )

    def _generator(self, stream: str, *where: int) -> torch.Generator:
        return derived_generator(self.config.training.seed, stream, *where, self.global_rank)

    def _ramp(self) -> float:
        options = self.config.adversarial
        return 0.0 if options.selection == "none" else ramp_at(self.current_epoch, options)

    def _eps(self) -> float:
        return self.config.adversarial.eps * self._ramp()

    def _log_step(self, loss: StepLoss, mixed: MixedBatch) -> None:
        self._finite.append(loss.finite)
        self._attacked += len(mixed.attacked)
        means = {"train_loss": loss.total.detach()}
        if len(loss.clean):
            means["train_loss_clean"] = loss.clean.detach().mean()
        if len(loss.adversarial):
            name = "train_loss_adversarial" if self.config.adversarial.loss == "mixed" else "train_alignment"
            means[name] = loss.adversarial.detach().mean()
        self._log_means(means, len(mixed.images))

    def _log_means(self, means: Mapping[str, Tensor], images: int) -> None:
        self.log_dict(dict(means), on_step=False, on_epoch=True, batch_size=images)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Measure per-image Dice, clean and, where it is asked for, under PGD at the full budget."""
        images, masks = as_images(batch)
        eps = budget_within(self.config.adversarial.eps, self._padding(batch))
        found = validated(
            self.segmenter,
            images,
            masks,
            eps=eps,
            steps=self.config.training.validation_steps if measures_robustness(self.config) else None,
            generator=self._generator("validation", batch_index),
            noise=self._noise(images, "validation noise", batch_index),
        )
        left = WATCHED_IMAGES - sum(len(earlier["dice"]) for earlier in self._validated)
        if self._watching and left > 0:
            found |= watch(
                self.segmenter,
                images[:left],
                masks[:left],
                eps=budget_of(eps, slice(left)),
                generator=self._generator("watch", batch_index),
            )
        self._validated.append({"rows": batch["rows"], **found})

    def on_validation_epoch_end(self) -> None:
        """Log the means over images whose Dice is defined, and the score that chooses the best epoch."""
        gather = self.all_gather if self.trainer.world_size > 1 else None
        means = validation_means(self._validated, monitor=monitor_of(self.config), gather=gather)
        self._validated.clear()
        self.log_dict(means, sync_dist=True, prog_bar=True)
