"""Compare the attack suites of trustseg with published attacks on masks, run by other people's code.

    pip install --no-deps adv-lib && python scripts/attack_suites.py FOLDER OUT

Six small networks (classical and evidential; no adversarial training, random selection, TRADES) are trained on
generated images into FOLDER, and attacked. The rivals are ALMA prox, DAG and PDPGD of adv-lib 0.2.8, which search the
smallest perturbation that flips 99 % of the pixels, and PGD with the steps of Adam on the cross-entropy and on the
CosPGD loss.
**Every image that a rival asks the network about counts for it**, if it lies in the budget. OUT gets ``attacks.csv``
(mean Dice of each) and ``images.csv`` (the worst Dice of each image under a suite and under all rivals).
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, one_hot

from trustseg.attacks import backward_passes, ensemble
from trustseg.config import load_run
from trustseg.data import open_dataset, write_phantoms
from trustseg.data.batches import PackRows, as_images
from trustseg.evaluation import rows_of_split
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.tables import write_csv
from trustseg.training import train

sys.modules.setdefault("visdom", ModuleType("visdom"))  # adv-lib imports it for a logger that is not used here
from adv_lib.attacks.segmentation import alma_prox, dag, pdpgd  # noqa: E402 - after the line above

SIZE, IMAGES, EPSILONS = 48, 12, (1 / 255, 4 / 255)
TRAININGS: Final = {
    "none": [],
    "random": ["adversarial.selection=random", "adversarial.attack=r_fgsm"],
    "trades": [
        *("adversarial.selection=random", "adversarial.attack=pgd", "adversarial.steps=5"),
        *("adversarial.loss=trades", "adversarial.mode=append"),
    ],
}
SETTINGS: Final = (
    *(f"data.size={SIZE}", "model.depth=3", "model.decoder_channels=[32,16,16]", "training.epochs=12"),
    *("training.batch_size=16", "adversarial.warmup_epochs=2", "adversarial.ramp_epochs=4", "training.monitor=last"),
)
PRESETS: Final = ("quick", "standard")
Rival = Callable[["Asked", Tensor, Tensor, float], object]


class Asked(nn.Module):
    """A segmenter with channels of logits, that keeps the worst Dice of each image that it is asked about.

    Args:
        model: the segmenter.
        images: the clean images (B, C, H, W).
        masks: their masks.
    """

    def __init__(self, model: Segmenter, images: Tensor, masks: Tensor) -> None:
        super().__init__()
        self.model, self.images, self.masks = model, images, masks
        self.passes = 0
        self.worst = {eps: torch.ones(len(images)) for eps in EPSILONS}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 3, H, W), the third never the largest: ALMA prox divides by the distance to it."""
        self.passes += 1
        belief = self.model.belief(images)
        distances = (images.detach()[:, None] - self.images[None]).abs().flatten(2).amax(dim=2)
        distance, row = distances.min(dim=1)  # attacks leave finished images out of the batch
        found = dice(belief.log_odds.detach() > 0, self.masks[row])
        for eps, worst in self.worst.items():
            inside = distance <= eps + 1e-6
            worst[row[inside]] = torch.minimum(worst[row[inside]], found[inside])
        half = belief.log_odds / 2
        return torch.cat([-half, half, -half.abs() - 1], dim=1)


def _projected_adam(model: Asked, images: Tensor, labels: Tensor, eps: float, *, cosine: bool) -> None:
    """Ascend by Adam, projected after each step; weights of the pixels as in CosPGD if asked for."""
    change = torch.empty_like(images).uniform_(-eps, eps, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimiser = torch.optim.Adam([change], lr=eps / 4, maximize=True)
    for _ in range(200):
        logits = model((images + change).clamp(0, 1))
        losses = cross_entropy(logits[:, :2], labels, reduction="none")
        if cosine:
            truth = one_hot(labels, 2).movedim(-1, 1).float()
            losses = losses * cosine_similarity(logits[:, :2].softmax(dim=1), truth, dim=1).detach()
        optimiser.zero_grad()
        losses.sum().backward()
        optimiser.step()
        with torch.no_grad():
            change.copy_((images + change.clamp(-eps, eps)).clamp(0, 1) - images)


RIVALS: Final[Mapping[str, Rival]] = {
    "ALMA prox": lambda model, images, labels, eps: alma_prox(model, images, labels),
    "DAG, step 0.001": lambda model, images, labels, eps: dag(model, images, labels, γ=1e-3),
    "DAG, step 0.003": lambda model, images, labels, eps: dag(model, images, labels, γ=3e-3),
    "PDPGD": lambda model, images, labels, eps: pdpgd(model, images, labels, norm=float("inf")),
    "Adam, cross-entropy": lambda model, images, labels, eps: _projected_adam(model, images, labels, eps, cosine=False),
    "Adam, CosPGD": lambda model, images, labels, eps: _projected_adam(model, images, labels, eps, cosine=True),
}


def main(folder: Path, out: Path) -> None:
    """Train, attack and write the tables."""
    source = folder / "films"
    out.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        write_phantoms(source, train=200, test=IMAGES, control=0, size=SIZE, seed=0)
    attacks: list[dict[str, object]] = []
    worst: list[dict[str, object]] = []
    for head in ("bernoulli", "beta"):
        for name, settings in TRAININGS.items():
            run = load_run(None, [f"data.path={source}", f"model.head={head}", *SETTINGS, *settings])
            pack = open_dataset(source, size=SIZE)
            model = train(run, pack, folder / f"{head}-{name}").eval()
            rows = rows_of_split(pack, "test", run.data)
            images, masks = as_images(PackRows(pack, rows).__getitems__(range(len(rows))))
            kept = masks.flatten(1).amax(dim=1) > 0
            found = _attacked(model, images[kept], masks[kept])
            for (attack, eps), (passes, values) in found.items():
                about = {"head": head, "training": name, "eps": f"{eps * 255:g}/255", "attack": attack}
                attacks.append({**about, "passes": passes, "dice": round(float(values.mean()), 4)})
                print(*attacks[-1].values(), flush=True)
            for eps in EPSILONS:
                rivals = torch.stack([found[rival, eps][1] for rival in RIVALS]).amin(dim=0)
                about = {"head": head, "training": name, "eps": f"{eps * 255:g}/255"}
                for preset in PRESETS:
                    pairs = zip(found[preset, eps][1].tolist(), rivals.tolist(), strict=True)
                    worst += [{**about, "suite": preset, "dice": ours, "rivals": theirs} for ours, theirs in pairs]
            table = pl.DataFrame(worst).with_columns(pl.col("dice", "rivals").round(4))
            write_csv(pl.DataFrame(attacks), out / "attacks.csv")
            write_csv(table, out / "images.csv")
    print(
        table.group_by("suite", "eps", maintain_order=True).agg(
            images=pl.len(), at_or_below=(pl.col("dice") <= pl.col("rivals") + 1e-4).mean()
        )
    )


def _attacked(model: Segmenter, images: Tensor, masks: Tensor) -> dict[tuple[str, float], tuple[int, Tensor]]:
    """Return (attack, eps) -> passes and the Dice (B,) of each image."""
    with torch.no_grad():
        clean = dice(model.belief(images).log_odds > 0, masks)
    found: dict[tuple[str, float], tuple[int, Tensor]] = {("clean", eps): (1, clean) for eps in EPSILONS}
    for eps in EPSILONS:
        for preset in PRESETS:
            generator = torch.Generator().manual_seed(0)
            shown = ensemble(model, images, masks, eps=eps, preset=preset, generator=generator)
            with torch.no_grad():
                values = dice(model.belief(shown).log_odds > 0, masks)
            found[preset, eps] = (backward_passes(preset, evidential=model.spec.head == "beta"), values)
    for name, rival in RIVALS.items():
        for eps in EPSILONS if name.startswith("Adam") else EPSILONS[:1]:  # the others know no budget
            asked = Asked(model, images, masks)
            rival(asked, images, masks[:, 0].long(), eps)
            for each in [eps] if name.startswith("Adam") else EPSILONS:
                found[name, each] = (asked.passes, asked.worst[each])
    return found


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    since = time.process_time()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{(time.process_time() - since) / 60:.0f} min of processor time")
