"""Two processes over gloo: one gradient, statistics that attacks leave alone, and the metrics of one process."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tests.training.tiny import pack

from trustseg.data import split_cases
from trustseg.data.batches import as_images, pack_loader
from trustseg.metrics import dice
from trustseg.models import Segmenter

# Nothing but notes is added to the training: gradients before each step, and statistics before and after each attack.
SCRIPT = """
import sys
from pathlib import Path
import torch
from tests.training.tiny import as_unet, config, network, pack
from trustseg.models import ARCHITECTURES
from trustseg.training import module, run, train

ARCHITECTURES["unet"] = as_unet(network)
folder, gradients, drifted, attack = Path(sys.argv[1]), [], [], module.attacked_images

def attacked(segmenter, *tensors, **options):
    before = [buffer.clone() for buffer in segmenter.buffers()]
    found = attack(segmenter, *tensors, **options)
    drifted.append(any(not torch.equal(*pair) for pair in zip(before, segmenter.buffers(), strict=True)))
    return found

class Noted(module.SegmentationModule):
    def configure_gradient_clipping(self, *given, **options):
        gradients.append({name: weight.grad.clone() for name, weight in self.segmenter.named_parameters()})
        super().configure_gradient_clipping(*given, **options)

    def on_train_end(self):
        found = {"gradients": gradients, "drifted": drifted, "state": self.segmenter.state_dict()}
        torch.save(found, folder / f"process{self.global_rank}.pt")

module.attacked_images, run.SegmentationModule = attacked, Noted
options = ("training.epochs=2", "training.devices=2", "training.batch_size=2", "training.monitor=last")
options += ("adversarial.warmup_epochs=0", "adversarial.grad_align=0.1", "adversarial.scores=memory")
train(config(*options), pack(train=16), folder / "run", report=lambda done, total: print(done, flush=True))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training of two processes."""
    folder = tmp_path_factory.mktemp("ddp")
    (folder / "script.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "LOCAL_RANK"))}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    environment["PYTHONWARNINGS"] = "ignore:Grad strides do not match"  # torch, where grad_align goes backwards twice
    command = [sys.executable, str(folder / "script.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=550, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["1", "2"]  # one of them speaks
    return folder


def notes(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"process{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
def test_all_processes_step_along_the_same_gradient(folder: Path) -> None:
    one, other = notes(folder)
    assert len(one["gradients"]) == len(other["gradients"]) == 6
    for mine, theirs in zip(one["gradients"], other["gradients"], strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    for name in one["gradients"][0]:
        assert torch.equal(one["state"][name], other["state"][name])  # and so their weights stay the same


@pytest.mark.slow
def test_no_attack_moves_the_statistics(folder: Path) -> None:
    for found in notes(folder):
        assert found["drifted"] == [False] * 6
        counted = [value for name, value in found["state"].items() if name.endswith("num_batches_tracked")]
        assert [int(value) for value in counted] == [6]  # the steps; no attack, score, alignment or validation


@pytest.mark.slow
def test_merged_metrics_are_those_of_one_process(folder: Path) -> None:
    """Of three validation images one is handed to both processes, and counts once."""
    images = pack(train=16)
    rows = split_cases(images.index, fold=None, folds=5, validation_fraction=0.2, seed=0).validation
    assert len(rows) == 3
    segmenter = Segmenter.load(folder / "run" / "model").eval()
    with torch.no_grad():
        pairs = [as_images(batch) for batch in pack_loader(images, rows, batch_size=2)]
        found = torch.cat([dice(segmenter.belief(seen).log_odds > 0, masks) for seen, masks in pairs])
    table = pl.read_csv(folder / "run" / "metrics.csv")
    assert table["validation_dice"][-1] == pytest.approx(float(found.nanmean()), abs=1e-6)
    assert table["adversarial_images"].to_list() == [6, 6]
    assert table["score_age"].to_list() == [None, 1.0]  # what the other process saw is known too
    assert table["forward_passes"].to_list() == [6 + 12 + 12] * 2  # of both processes: attack, alignment, step
