"""``train`` on small images: what it says, keeps and resumes; bad input is in test_refusals.py."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests import fake
from tests.cli.conftest import Run, done, full, one_sentence, refusal
from tests.training.tiny import repeatable_metrics, same_weights

from trustseg.models import Segmenter
from trustseg.study.cell import claimed

pytestmark = pytest.mark.usefixtures("small_and_tidy")


def test_train_and_what_it_says(train: Run, tmp_path: Path) -> None:
    (tmp_path / "gentle.yaml").write_text("training: {learning_rate: 1.0e-5}\n")
    found = train(tmp_path / "gentle.yaml", "training.epochs=2")
    assert re.fullmatch(r"kept: epoch [12] of 2, .* \d\.\d{3}\nmodel: runs/gentle/model\nnext: .*\n", done(found))
    first, last = found.err.splitlines()[-2:]
    assert re.fullmatch(r"epoch: 1 of 2, about \S+ \w+ left", first)
    assert re.fullmatch(r"epoch: 2 of 2, \S+ \w+", last)
    again = train(tmp_path / "gentle.yaml", "training.epochs=2")
    assert (again.code, again.out) == (0, found.out)
    assert "epoch" not in again.err  # nothing is left to do
    about = json.loads(Path("runs/gentle/provenance.json").read_text())
    assert about["data"]["layout"] == "qata"
    assert "/" not in about["command"].replace("4/255", "")


def test_a_validation_without_foreground_is_told_before(train: Run, films: Path) -> None:
    for file in (fake.train_set(films.parent) / "Ground-truths").iterdir():
        fake.save(np.zeros_like(fake.mask("any")), file)
    found = train("-o", "run", "training.epochs=1", "training.patience=1")
    *before, last = found.err.splitlines()
    assert any("validation" in line for line in before)
    assert "no training image has foreground" in found.err
    assert last.startswith("epoch: 1 of 1")
    assert json.loads(Path("run/model/epoch.json").read_text())["chosen_by"] == "last"


def test_a_run_folder_is_for_one_run(train: Run, films: Path) -> None:
    with claimed(Path("run")):
        assert "another process is training in 'run'" in refusal(train("-o", "run"))
    assert not Path("run/config.yaml").exists()
    train("-o", "run")
    assert "holds a run with other settings" in refusal(train("-o", "run", "training.seed=1"))
    fake.save(fake.image("new"), fake.train_set(films.parent) / "Images" / "sub-S05_x.png")
    fake.save(fake.mask("new"), fake.train_set(films.parent) / "Ground-truths" / "mask_sub-S05_x.png")
    assert "have changed since the run in 'run' was started" in refusal(train("-o", "run"))


@pytest.mark.parametrize("name", ["config.yaml", "last.ckpt", "metrics.csv", "model.safetensors", "model.json"])
def test_a_full_disk_loses_nothing(train: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    train("-o", "whole", "training.epochs=2")
    with monkeypatch.context() as patch:
        full(patch, name)
        assert "the disk is full at '" in refusal(train("-o", "run", "training.epochs=2"))
    assert not Path("run/model/model.json").exists()
    done(train("-o", "run", "training.epochs=2"))
    assert same_weights(Segmenter.load("whole/model"), Segmenter.load("run/model"))
    assert repeatable_metrics(Path("whole")).equals(repeatable_metrics(Path("run")))
    assert not list(Path("run").rglob("*.partial*"))


def test_a_loss_that_is_not_finite_is_a_failed_run(train: Run) -> None:
    found = train("-o", "run", "training.learning_rate=1e38", "adversarial.selection=none", "training.epochs=3")
    assert found.code == 1
    assert "lower training.learning_rate" in one_sentence(found)
