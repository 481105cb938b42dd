"""What a training costs, against passes counted by hand."""

import math
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.tiny import config, pack

from trustseg.attacks import fgsm, pgd
from trustseg.training import cost, train
from trustseg.training.cost import PassCounter, peak_memory_mb
from trustseg.training.passes import Passes, epoch_passes

IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
MASKS = (IMAGES > 0.6).float()


def test_passes_by_hand() -> None:
    segmenter = small_segmenter()
    counter = PassCounter(segmenter.network)
    with torch.no_grad():
        segmenter.belief(IMAGES)
    assert (counter.forward, counter.backward) == (3, 0)
    segmenter.belief(IMAGES).probability.sum().backward()  # type: ignore[no-untyped-call]
    assert (counter.forward, counter.backward) == (6, 3)
    counter.reset()
    pgd(segmenter, IMAGES, MASKS, eps=0.1, steps=4, keep_best=False)
    assert (counter.forward, counter.backward) == (12, 12)
    counter.on = False
    fgsm(segmenter, IMAGES, MASKS, eps=0.1)
    assert (counter.forward, counter.backward) == (12, 12)
    counter.on = True
    counter.remove()
    fgsm(segmenter, IMAGES, MASKS, eps=0.1)
    assert (counter.forward, counter.backward) == (12, 12)


FREE = ["adversarial.attack=free", "adversarial.selection=random", "adversarial.fraction=1"]
ALIGNED = ["adversarial.mode=append", "adversarial.attack=rs_fgsm"]


# Two batches of four images an epoch, half of each attacked; validation is not counted.
@pytest.mark.parametrize(
    ("settings", "forward", "backward", "adversarial"),
    [
        (["adversarial.selection=none"], 8, 8, 0),
        (["adversarial.selection=random"], 4 + 8, 4 + 8, 4),
        (["adversarial.selection=uncertain"], 8 + 4 + 8, 4 + 8, 4),
        (["adversarial.mode=append"], 8 + 4 + 12, 4 + 12, 4),
        (["adversarial.attack=pgd", "adversarial.steps=3"], 8 + 12 + 8, 12 + 8, 4),
        (["adversarial.fraction=1"], 8 + 8 + 8, 8 + 8, 8),
        (["adversarial.selection=random", "adversarial.weight_perturbation=0.01"], 4 + 4 + 8, 4 + 4 + 8, 4),
        (["adversarial.selection=random", "adversarial.grad_align=0.2"], 4 + 8 + 8, 4 + 8 + 16 + 8, 4),
        (["adversarial.scores=memory"], 4 + 8, 4 + 8, 4),
        ([*FREE, "adversarial.replays=3"], 3 * 8, 3 * 8, 3 * 8),
        ([*ALIGNED, "adversarial.loss=strength"], 8 + 4 + 12, 4 + 12, 4),
        ([*ALIGNED, "adversarial.loss=ev_at", "adversarial.objective=divergence"], 8 + 4 + 4 + 12, 4 + 12, 4),
        ([*ALIGNED, "adversarial.loss=trades", "adversarial.weight_perturbation=0.01"], 8 + 8 + 12, 8 + 12, 4),
    ],
)
def test_passes_of_an_epoch(tmp_path: Path, settings: list[str], forward: int, backward: int, adversarial: int) -> None:
    run = config("training.epochs=1", "adversarial.warmup_epochs=0", *settings)
    train(run, pack(), tmp_path)
    assert epoch_passes(run, 9, epoch=0) == Passes(forward, backward)  # what the study's plan says
    row = pl.read_csv(tmp_path / "metrics.csv").row(0, named=True)
    assert row["forward_passes"] == forward
    assert row["backward_passes"] == backward
    assert row["adversarial_images"] == adversarial
    assert row["seconds"] > 0
    assert row["peak_memory_mb"] > 100  # torch alone takes more


def test_memory_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "resource", None)
    assert math.isnan(peak_memory_mb(torch.device("cpu")))


def test_units_of_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    kilobytes = peak_memory_mb(torch.device("cpu"))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert kilobytes == pytest.approx(1024 * peak_memory_mb(torch.device("cpu")), rel=0.2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_of_a_gpu() -> None:
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    before = peak_memory_mb(device)
    held = torch.zeros(2**20, device=device)
    assert peak_memory_mb(device) - before == pytest.approx(held.nbytes / 2**20, abs=1)
