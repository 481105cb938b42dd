"""What training costs for every selection of a fixed share and every attack, against what its counted passes should."""

from collections.abc import Iterator
from copy import deepcopy
from operator import mul

import lightning.pytorch as pl
import torch
from torch import Tensor

from benchmarks.runs import TimedRun, now, ratio
from benchmarks.scenes import BATCH, ON_GPU, bare_step, generated_pack, run_of
from benchmarks.timing import Figure
from trustseg.attacks import training_attacks
from trustseg.config import RunConfig
from trustseg.config.names import FREE
from trustseg.data import Pack
from trustseg.data.batches import Batch
from trustseg.selection import SELECTIONS, attacked_count
from trustseg.training.passes import Passes, epoch_passes

SIZE, IMAGES, EPOCHS = (224, 1024, 5) if ON_GPU else (96, 32, 5)
STEPS = REPLAYS = 3
TARGET = 1.05


def figures() -> Iterator[Figure]:
    """Yield how far the measured cost of an epoch is from the predicted one, whichever is larger on top."""
    pack = generated_pack(IMAGES, size=SIZE)
    yield _figure(pack, "no attack", "adversarial.selection=none")
    for selection in SELECTIONS:
        yield _figure(pack, f"{selection}, fgsm", f"adversarial.selection={selection}", "adversarial.attack=fgsm")
    remembered = ("adversarial.selection=uncertain", "adversarial.scores=memory")
    yield _figure(pack, "uncertain by memory, fgsm", *remembered)
    for attack in sorted(set(training_attacks()) - {"fgsm"}):
        details = "" if training_attacks()[attack].facts.single_step else f"-{STEPS}"
        yield _figure(
            pack, f"random, {attack}{details}", "adversarial.selection=random", f"adversarial.attack={attack}"
        )
    whole = ("adversarial.selection=random", "adversarial.fraction=1.0", "adversarial.attack=free")
    yield _figure(pack, f"every image, free-{REPLAYS}", *whole, f"adversarial.replays={REPLAYS}")


def _figure(pack: Pack, name: str, *settings: str) -> Figure:
    common = ("adversarial.warmup_epochs=0", "adversarial.ramp_epochs=0", f"adversarial.steps={STEPS}")
    config = run_of(*common, "training.augment=false", *settings, size=SIZE)
    run = PricedRun(pack, config)
    run.fit()
    passes = epoch_passes(config, len(pack), epoch=EPOCHS)
    predicted = run.predicted(passes)
    quotient = ratio(run.step_seconds, predicted)
    return Figure(
        f"an epoch, measured against predicted: {name}",
        max(quotient, 1 / quotient),
        target=TARGET,
        details={
            "measured_by_predicted": quotient,
            "forward_passes": passes.forward,
            "backward_passes": passes.backward,
            "counted_forward_passes": run.passes["forward_passes"],
            "counted_backward_passes": run.passes["backward_passes"],
        },
    )


class PricedRun(TimedRun):
    """One training beside which the passes it is made of are timed, each on the batch of the step that follows.

    Attributes:
        step_seconds: of each step but those of the first epoch.
        prices: seconds an image in a bare step, in a forward pass, and in a pass forward and back to the image. Each is
            priced as it is made: forward passes on the batch where it is scored, else on the images that are attacked;
            a step back to the images, too, where the attack is trained on for free.
    """

    def __init__(self, pack: Pack, config: RunConfig) -> None:
        super().__init__(pack, config, epochs=EPOCHS + 1)
        self.options = config.adversarial
        self.attacked = attacked_count(BATCH, self.options.fraction)
        self.twin = deepcopy(self.module.segmenter)
        self.bare = None
        self.step_seconds: list[float] = []
        self.prices: dict[str, list[float]] = {"step": [], "forward": [], "attack": []}

    def predicted(self, passes: Passes) -> list[float]:
        """Return the seconds that each step should take: counted passes times the price they had just before it."""
        batches = len(self.loader)
        images = BATCH * batches * (self.options.replays if self.options.attack == FREE else 1)  # that are stepped on
        counts = images, passes.forward - passes.backward, passes.backward - images
        prices = zip(*(self.prices[name] for name in ("step", "forward", "attack")), strict=True)
        return [sum(map(mul, counts, price)) / batches for price in prices]

    def look(self, images: Tensor, masks: Tensor) -> None:
        """Time each kind of pass, on weights of their own."""
        if self.bare is None:
            self.bare = bare_step(self.twin.to(images.device))
        seen = images if self.options.selection != "random" else images[: self.attacked]
        since = now()
        self.twin.train()
        self.bare(images.clone().requires_grad_(self.options.attack == FREE), masks)
        stepped = now()
        self.twin.eval()
        with torch.no_grad():
            self.twin.belief(seen)
        looked = now()
        inputs = images[: self.attacked].clone().requires_grad_()
        torch.autograd.grad(self.twin.belief(inputs).log_odds.sum(), inputs)
        attacked = now()
        if self.module.trainer.current_epoch > 0:
            self.prices["step"].append((stepped - since) / len(images))
            self.prices["forward"].append((looked - stepped) / len(seen))
            self.prices["attack"].append((attacked - looked) / self.attacked)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the time of each step."""
        before = self._spent
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.current_epoch > 0:
            self.step_seconds.append(self._spent - before)
