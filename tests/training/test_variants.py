"""Every variant of adversarial training takes a step, or says why its head cannot; where losses or scores of the head
are part of it, with both heads.
"""

from pathlib import Path

import polars as pl
import pytest
import torch
from tests.training.tiny import config, pack

from trustseg.attacks import training_attacks
from trustseg.beliefs import Bernoulli
from trustseg.errors import ConfigError
from trustseg.losses import ALIGNMENTS
from trustseg.selection import SELECTIONS
from trustseg.training import train
from trustseg.uncertainty import MEASURES

SINGLE_STEP = [name for name, attack in training_attacks().items() if attack.facts.single_step]
ONE_STEP = ("training.epochs=1", "adversarial.warmup_epochs=0", "adversarial.ramp_epochs=0", "training.batch_size=8")
ALIGNED = [name for name, each in ALIGNMENTS.items() if each.facts.needs_beta]
EVIDENCE = [name for name, each in MEASURES.items() if Bernoulli not in each.facts.given_by]
EVIDENTIAL = (*ALIGNED, *EVIDENCE)
OF_THE_HEAD = (
    "adversarial.mode",
    "adversarial.pixel_weight",
    "adversarial.grad_align",
    "adversarial.selection=uncertain",
)

VARIANTS = [
    *([f"adversarial.attack={attack}"] for attack in (*SINGLE_STEP, "segpgd")),
    ["adversarial.attack=pgd", "adversarial.steps=2"],
    *([f"adversarial.selection={rule}"] for rule in SELECTIONS),
    ["adversarial.selection=threshold", "adversarial.threshold=0.01"],
    ["adversarial.scores=memory"],
    ["adversarial.fraction_start=0.25"],
    ["adversarial.weight_perturbation=0.01"],
    ["adversarial.grad_align=0.2"],
    ["adversarial.attack=free", "adversarial.selection=random", "adversarial.fraction=1"],
    *(["adversarial.mode=append", f"adversarial.loss={loss}"] for loss in ALIGNMENTS),
    [
        "adversarial.mode=append",
        "adversarial.loss=strength",
        "adversarial.alignment.divergence=symmetric_kl",
        "adversarial.pixel_weight=vacuity",
    ],
    *(
        [
            "adversarial.mode=append",
            f"adversarial.loss={loss}",
            "adversarial.objective=divergence",
            "adversarial.attack=pgd",
        ]
        for loss in ("mixed", "trades", "ev_at")
    ),
    *([f"adversarial.pixel_weight={weight}"] for weight in ("entropy", "margin", "vacuity", "mutual_information")),
]


@pytest.mark.parametrize(
    "settings",
    [
        *(["model.head=beta", *settings] for settings in VARIANTS),
        *(["model.head=bernoulli", *settings] for settings in VARIANTS if settings[0].startswith(OF_THE_HEAD)),
    ],
    ids=" ".join,
)
def test_one_step(tmp_path: Path, settings: list[str]) -> None:
    everything = [*ONE_STEP, *settings]
    if "model.head=bernoulli" in settings and any(setting.endswith(EVIDENTIAL) for setting in settings):
        with pytest.raises(ConfigError, match=r"needs a beta head, model\.head is bernoulli; set"):
            config(*everything)
        return
    segmenter = train(config(*everything), pack(), tmp_path)
    row = pl.read_csv(tmp_path / "metrics.csv").row(0, named=True)
    assert row["adversarial_images"] > 0
    assert row["train_loss"] > 0
    assert row["train_alignment" if "train_alignment" in row else "train_loss_adversarial"] > 0
    assert all(torch.isfinite(weight).all() for weight in segmenter.parameters())


def test_the_fraction_grows_epoch_by_epoch(tmp_path: Path) -> None:
    schedule = ["adversarial.fraction_start=0.25", "adversarial.fraction=1", "adversarial.ramp_epochs=3"]
    train(config("training.epochs=5", *schedule), pack(), tmp_path)
    assert pl.read_csv(tmp_path / "metrics.csv")["adversarial_images"].to_list() == [0, 2, 4, 6, 8]
