"""PGD-10 against its floor, ten forward and input-backward passes, and against other libraries."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.scenes import DEVICE, ON_GPU
from benchmarks.timing import Figure, seconds_of
from trustseg.attacks import pgd
from trustseg.data import open_dataset, write_phantoms
from trustseg.data.batches import as_images, pack_loader
from trustseg.losses import segmentation_loss
from trustseg.metrics import dice
from trustseg.models import Segmenter, build_segmenter
from trustseg.models.inference import fast_forward

EPS, STEPS = 4 / 255, 10
SIZE, BATCH = (224, 64) if ON_GPU else (128, 8)  # few images leave a GPU waiting for the host
STRIDE = 2.5 * EPS / STEPS


def figures() -> Iterator[Figure]:
    """Yield the cost of attacks in units of the floor, with the Dice that each reached."""
    segmenter, images, masks = trained()
    with fast_forward(segmenter) as fast:
        attacks = {
            "native": lambda: pgd(segmenter, images, masks, eps=EPS, steps=STEPS, keep_best=False),
            "native, keep_best": lambda: pgd(segmenter, images, masks, eps=EPS, steps=STEPS),
            "native, fast_forward": lambda: pgd(fast, images, masks, eps=EPS, steps=STEPS, keep_best=False),
            **peers(segmenter, images, masks),
        }
        times = seconds_of({"floor": lambda: floor(segmenter, images), **attacks}, repeats=5)
        targets = {"native": 1.05, "native, keep_best": 1.10, "native, fast_forward": 0.75}
        for name, attack in attacks.items():
            attacked = attack()
            with torch.no_grad():
                reached = float(dice(segmenter.belief(attacked).log_odds > 0, masks).nanmean())
            details = {"seconds": times[name], "floor_seconds": times["floor"], "dice": reached}
            yield Figure(
                f"PGD-10 / floor: {name}", times[name] / times["floor"], target=targets.get(name), details=details
            )
        with torch.no_grad():
            clean = float(dice(segmenter.belief(images).log_odds > 0, masks).nanmean())
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # whose rounding is 1e-3 by itself
                gap = float((fast.belief(images).log_odds - segmenter.belief(images).log_odds).abs().max())
    yield Figure("clean Dice of the model that was attacked", clean, unit="")
    yield Figure("largest difference of log-odds, fast_forward, TF32 off", gap, unit="", target=1e-4)


def floor(segmenter: Segmenter, images: Tensor) -> None:
    """Do what any attack of ten gradient steps must do."""
    for _ in range(STEPS):
        inputs = images.clone().requires_grad_()
        torch.autograd.grad(segmenter.belief(inputs).log_odds.sum(), inputs)


def trained(steps: int = 60) -> tuple[Segmenter, Tensor, Tensor]:
    """Return a U-Net on ResNet-18 that has learned a little from generated images, and eight it has not seen."""
    with tempfile.TemporaryDirectory() as name:
        source = write_phantoms(Path(name) / "phantoms", train=96, test=BATCH, control=0, size=SIZE)
        pack = open_dataset(source, size=SIZE)
        rows = pack.index.with_row_index("row")
        chosen = {split: rows.filter(split=split)["row"].to_numpy().astype(np.int64) for split in ("train", "test")}
        torch.manual_seed(0)
        segmenter = build_segmenter(architecture="unet", encoder="resnet18", head="bernoulli", size=SIZE).train()
        optimizer = torch.optim.AdamW(segmenter.parameters(), lr=2e-3)
        done = 0
        while done < steps:
            for batch in pack_loader(pack, chosen["train"], batch_size=BATCH, shuffle_seed=done):
                images, masks = as_images(batch)
                segmentation_loss(segmenter.belief(images), masks, data_term="binary_cross_entropy").mean().backward()
                optimizer.step()
                optimizer.zero_grad()
                done += 1
        images, masks = as_images(next(iter(pack_loader(pack, chosen["test"], batch_size=BATCH))))
    return segmenter.eval().to(DEVICE), images.to(DEVICE), masks.to(DEVICE)


class Logit(nn.Module):
    """The logit map of a segmenter, or two channels of it for libraries that need two classes."""

    def __init__(self, segmenter: Segmenter, *, channels: int) -> None:
        super().__init__()
        self.segmenter, self.channels = segmenter, channels

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 1 or 2, H, W) logits."""
        logits = self.segmenter.belief(images).log_odds
        return logits if self.channels == 1 else torch.cat([torch.zeros_like(logits), logits], dim=1)


def peers(segmenter: Segmenter, images: Tensor, masks: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return PGD-10 of every other library that is installed, with the same steps and no random start."""
    found: dict[str, Callable[[], Tensor]] = {}
    try:
        from trustseg.art import run_art

        found["ART"] = lambda: run_art(
            "ProjectedGradientDescent", segmenter, images, masks, eps=EPS, steps=STEPS, parameters={}
        )
    except ImportError:
        print("ART is not installed, left out")
    try:
        import torchattacks

        pair = Logit(segmenter, channels=2).eval()
        attack = torchattacks.PGD(pair, eps=EPS, alpha=STRIDE, steps=STEPS, random_start=False)
        labels = masks[:, 0].long()
        found["torchattacks (two channels)"] = lambda: attack(images, labels)
    except ImportError:
        print("torchattacks is not installed, left out")
    try:
        found["foolbox"] = foolbox_pgd(segmenter, images, masks)
    except ImportError:
        print("foolbox is not installed, left out")
    return found


def foolbox_pgd(segmenter: Segmenter, images: Tensor, masks: Tensor) -> Callable[[], Tensor]:
    """Return foolbox's PGD-10 with a loss for masks in the place of its own for classes."""
    import eagerpy
    import foolbox
    from torch.nn.functional import softplus

    class Masked(foolbox.attacks.LinfProjectedGradientDescentAttack):
        def get_loss_fn(self, model: object, labels: object) -> Callable[[object], object]:
            def loss(inputs: eagerpy.PyTorchTensor) -> object:
                margins = (2 * labels.raw - 1) * model(inputs).raw
                return eagerpy.astensor(softplus(-margins).flatten(1).mean(dim=1).sum())

            return loss

    model = foolbox.PyTorchModel(Logit(segmenter, channels=1).eval(), bounds=(0, 1))
    attack = Masked(rel_stepsize=None, abs_stepsize=STRIDE, steps=STEPS, random_start=False)

    def run() -> Tensor:
        found: Tensor = attack.run(model, images, foolbox.criteria.Misclassification(masks), epsilon=EPS)
        return found

    return run
