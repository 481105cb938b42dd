"""Compare the attack suites of trustseg with published attacks on masks, run by other people's code.

    pip install --no-deps adv-lib && python scripts/attack_suites.py FOLDER OUT ATTACKER

Six small networks (classical and evidential; no adversarial training, random selection, TRADES) are trained on
generated images into FOLDER, and attacked. The rivals are ALMA prox, DAG and PDPGD of adv-lib 0.2.8, which search the
smallest perturbation that flips 99 % of the pixels; PGD with the steps of torch's Adam on the cross-entropy and on the
CosPGD loss; and the three attacks of SEA by its authors' code, 100 steps each: ATTACKER is the file
``semseg/attacker.py`` of nmndeep/Robust-Segmentation at f8ff8e6.
**Every image that a rival asks the network about counts for it**, if it lies in the budget. OUT gets ``attacks.csv``
(mean Dice of each) and ``images.csv`` (the worst Dice of each image under a suite and under all rivals).
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
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
        self.passes, self.channels = 0, 3
        self.worst = {eps: torch.ones(len(images)) for eps in EPSILONS}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, ``channels``, H, W); the third, by which ALMA prox divides, is never the largest."""
        self.passes += 1
        belief = self.model.belief(images)
        distances = (images.detach()[:, None] - self.images[None]).abs().flatten(2).amax(dim=2)
        distance, row = distances.min(dim=1)  # attacks leave finished images out of the batch
        found = dice(belief.log_odds.detach() > 0, self.masks[row])
        for eps, worst in self.worst.items():
            inside = distance <= eps + 1e-6
            worst[row[inside]] = torch.minimum(worst[row[inside]], found[inside])
        half = belief.log_odds / 2
        return torch.cat([-half, half, -half.abs() - 1], dim=1)[:, : self.channels]


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


def _sea(attacker: ModuleType, model: Asked, images: Tensor, labels: Tensor, eps: float, *, loss: str) -> None:
    """Run one attack of SEA; classes are weighted by how rare they are in these images."""
    torch.manual_seed(0)
    model.channels = 2
    shares = torch.bincount(labels.flatten(), minlength=2) / labels.numel()
    attacker.apgd_largereps(
        model.eval(), images, labels, 1 / (2 * shares), eps=eps, n_iter=100, loss=loss, track_loss="ce-avg", use_rs=True
    )


SEARCHES: Final[Mapping[str, Rival]] = {  # of the smallest perturbation: they are given no budget
    "ALMA prox": lambda model, images, labels, eps: alma_prox(model, images, labels),
    "DAG, step 0.001": lambda model, images, labels, eps: dag(model, images, labels, γ=1e-3),
    "DAG, step 0.003": lambda model, images, labels, eps: dag(model, images, labels, γ=3e-3),
    "PDPGD": lambda model, images, labels, eps: pdpgd(model, images, labels, norm=float("inf")),
}


def _within_budget(attacker: Path) -> Mapping[str, Rival]:
    """Return the rivals that are given a budget."""
    for missing, names in {"autoattack": (), "autoattack.other_utils": ("L0_norm", "L1_norm", "L2_norm")}.items():
        stub = sys.modules.setdefault(missing, ModuleType(missing))  # norms that are not used here
        for name in (*names, "Logger"):
            setattr(stub, name, lambda _: None)
    spec = importlib.util.spec_from_file_location("attacker", attacker)
    if spec is None or spec.loader is None:
        sys.exit(f"'{attacker}' is no Python file")
    sea = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sea)
    return {
        "Adam, cross-entropy": partial(_projected_adam, cosine=False),
        "Adam, CosPGD": partial(_projected_adam, cosine=True),
        "SEA, masked cross-entropy": partial(_sea, sea, loss="mask-ce-avg"),
        "SEA, balanced": partial(_sea, sea, loss="mask-ce-bal"),
        "SEA, Jensen-Shannon": partial(_sea, sea, loss="js-avg"),
    }


def main(folder: Path, out: Path, attacker: Path) -> None:
    """Train, attack and write the tables."""
    source, within_budget = folder / "films", _within_budget(attacker)
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
            found = _attacked(model, images[kept], masks[kept], within_budget)
            for (attack, eps), (passes, values) in found.items():
                about = {"head": head, "training": name, "eps": f"{eps * 255:g}/255", "attack": attack}
                attacks.append({**about, "passes": passes, "dice": round(float(values.mean()), 4)})
                print(*attacks[-1].values(), flush=True)
            for eps in EPSILONS:
                rivals = torch.stack([found[rival, eps][1] for rival in (*SEARCHES, *within_budget)]).amin(dim=0)
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


def _attacked(
    model: Segmenter, images: Tensor, masks: Tensor, within_budget: Mapping[str, Rival]
) -> dict[tuple[str, float], tuple[int, Tensor]]:
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
    labels = masks[:, 0].long()
    for name, rival in SEARCHES.items():
        asked = Asked(model, images, masks)
        rival(asked, images, labels, EPSILONS[0])
        found |= {(name, eps): (asked.passes, asked.worst[eps]) for eps in EPSILONS}
    for name, rival in within_budget.items():
        for eps in EPSILONS:
            asked = Asked(model, images, masks)
            rival(asked, images, labels, eps)
            found[name, eps] = (asked.passes, asked.worst[eps])
    return found


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    since = time.process_time()
    main(*map(Path, sys.argv[1:]))
    print(f"{(time.process_time() - since) / 60:.0f} min of processor time")
