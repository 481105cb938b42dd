"""A training that is killed and goes on equals one that was left alone, bit for bit; of its epochs the best is kept."""

import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tests.training.tiny import (
    Killed,
    config,
    five_epochs,
    killing_after,
    pack,
    repeatable_metrics,
    same_weights,
    use_tiny_networks,
)
from tests.warm import start

from trustseg.data import split_cases
from trustseg.data.batches import Batch, as_images, pack_loader
from trustseg.errors import DataError, RunError
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.training import train
from trustseg.training.checkpointing import selected_epoch
from trustseg.training.module import SegmentationModule


@pytest.mark.parametrize(
    ("epochs", "settings"),
    [
        ((1, 2, 3), ["adversarial.scores=memory", "adversarial.mode=append", "adversarial.weight_perturbation=0.01"]),
        ((2,), ["adversarial.selection=none"]),
        ((1,), ["model.head=bernoulli", "adversarial.selection=random", "adversarial.attack=r_fgsm"]),
        ((2,), ["training.precision=bf16-mixed"]),
        ((3,), ["training.monitor=last"]),
        ((1,), ["training.accumulate=2", "data.residence=ram", "training.noise=0.25"]),
        ((1, 2), ["adversarial.scores=memory", "training.validation_every=2"]),
    ],
    ids=str,
)
def test_resumed_equals_uninterrupted(tmp_path: Path, epochs: tuple[int, ...], settings: list[str]) -> None:
    run, images = config(*settings), pack()
    whole = train(run, images, tmp_path / "whole")
    for epoch in epochs:
        killed, moved = tmp_path / f"killed{epoch}", tmp_path / f"moved{epoch}"
        with pytest.raises(Killed):
            train(run, images, killed, report=killing_after(epoch))
        assert not (killed / "model").exists()
        killed.rename(moved)  # a run may be copied elsewhere before it goes on
        assert same_weights(whole, train(run, images, moved))
        assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(moved))
        assert not (moved / "checkpoints").exists()


def test_a_kill_between_two_files_of_an_epoch_costs_that_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, images = config(), pack()
    whole = train(run, images, tmp_path / "whole")
    with monkeypatch.context() as patch:
        replaced = os.replace

        def killing(source: Path, target: Path) -> None:
            if target.name == "last.ckpt" and target.exists():
                raise Killed
            replaced(source, target)

        patch.setattr(os, "replace", killing)
        with pytest.raises(Killed):
            train(run, images, tmp_path / "killed")
    assert len(repeatable_metrics(tmp_path / "killed")) == 1
    done: list[int] = []
    resumed = train(run, images, tmp_path / "killed", report=lambda epoch, total: done.append(epoch))
    assert done == [2, 3]
    assert same_weights(whole, resumed)
    assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(tmp_path / "killed"))


def test_an_epoch_does_not_wait_for_the_files_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are held back until the second epoch has moved everything, and all that a kill then leaves."""
    run, images = config("adversarial.scores=memory"), pack()
    whole = train(run, images, tmp_path / "whole")
    moved, written = threading.Event(), list[str]()
    replaced, step = os.replace, SegmentationModule.training_step

    def waiting(source: Path, target: Path) -> None:
        if target.name == "last.ckpt":
            if written:
                raise Killed
            assert moved.wait(20)
            written.append(target.name)
        replaced(source, target)

    def stepping(self: SegmentationModule, batch: Batch, batch_index: int) -> torch.Tensor:
        loss = step(self, batch, batch_index)
        if (self.current_epoch, batch_index) == (1, 1):
            moved.set()
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", waiting)
        patch.setattr(SegmentationModule, "training_step", stepping)
        with pytest.raises(Killed):
            train(run, images, tmp_path / "killed")
    assert written == ["last.ckpt"]
    assert len(repeatable_metrics(tmp_path / "killed")) == 1
    assert same_weights(whole, train(run, images, tmp_path / "killed"))
    assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(tmp_path / "killed"))


def test_a_training_whose_files_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            train(config("training.epochs=1"), pack(), tmp_path)
    assert not (tmp_path / "model").exists()
    assert not list(tmp_path.rglob("*.partial"))


def test_the_best_epoch_is_that_of_the_highest_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are those that were validated, the validation's Dice is that of the metric."""
    weights: list[dict[str, torch.Tensor]] = []
    ended = SegmentationModule.on_validation_epoch_end

    def noting(self: SegmentationModule) -> None:
        weights.append({name: value.clone() for name, value in self.segmenter.state_dict().items()})
        ended(self)

    monkeypatch.setattr(SegmentationModule, "on_validation_epoch_end", noting)
    scores_of(monkeypatch, [0.1, 0.9, 0.2])
    best, images = train(config(), pack(), tmp_path), pack()
    assert len(weights) == 3
    assert all(torch.equal(value, weights[1][name]) for name, value in best.state_dict().items())
    rows = split_cases(images.index).validation
    batches = [as_images(batch) for batch in pack_loader(images, rows, batch_size=4)]
    with torch.no_grad():
        found = torch.cat([dice(best.belief(seen).log_odds > 0, masks) for seen, masks in batches]).nanmean()
    assert float(found) == pytest.approx(pl.read_csv(tmp_path / "metrics.csv")["validation_dice"][1], abs=1e-6)


def test_the_last_epoch_is_validated_and_the_kept_one_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores_of(monkeypatch, [0.0, 0.4, 0.0, 0.0, 0.9])
    run = config("training.epochs=5", "training.validation_every=2")
    with pytest.raises(Killed):
        train(run, pack(), tmp_path, report=killing_after(4))
    train(run, pack(), tmp_path)
    table = pl.read_csv(tmp_path / "metrics.csv")
    assert table["validation_score"].is_null().to_list() == [True, False, True, False, False]
    kept = selected_epoch(tmp_path / "model")
    assert kept is not None
    assert (kept.epoch, kept.trained, kept.chosen_by) == (5, 5, "both")
    assert kept.validation_score == pytest.approx(0.9)
    assert "epoch 5 of 5" in str(kept)
    for damaged in ('{"epoch": "5"}', "{", "[]"):
        (tmp_path / "model" / "epoch.json").write_text(damaged)
        with pytest.raises(DataError, match=r"epoch\.json"):
            selected_epoch(tmp_path / "model")
    (tmp_path / "model" / "epoch.json").unlink()
    assert selected_epoch(tmp_path / "model") is None


@pytest.mark.parametrize("settings", [(), ("training.patience=1",)])
def test_without_foreground_to_validate_on_the_last_epoch_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    scores_of(monkeypatch, [0.9, float("nan"), 0.0])  # a false positive scores 0, an empty prediction is undefined
    model = train(config(*settings), pack(empty=12), tmp_path)
    kept = selected_epoch(tmp_path / "model")
    assert kept is not None
    assert (kept.epoch, kept.trained, kept.chosen_by, kept.validation_score) == (3, 3, "last", None)
    monkeypatch.undo()
    use_tiny_networks(monkeypatch)
    assert same_weights(model, train(config("training.monitor=last"), pack(empty=12), tmp_path / "last"))


def test_nothing_is_attacked_at_validation_if_nothing_is_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("trustseg.training.validation.pgd", None)
        train(config("training.epochs=1", "adversarial.selection=none"), pack(), tmp_path / "clean")
    table = pl.read_csv(tmp_path / "clean" / "metrics.csv")
    assert "validation_robust_dice" not in table.columns
    assert table["validation_score"].equals(table["validation_dice"].alias("validation_score"))
    chosen = selected_epoch(tmp_path / "clean" / "model")
    assert chosen is not None
    assert chosen.chosen_by == "clean"
    train(
        config("training.epochs=1", "adversarial.selection=none", "training.monitor=robust"), pack(), tmp_path / "asked"
    )
    assert "validation_robust_dice" in pl.read_csv(tmp_path / "asked" / "metrics.csv").columns


def scores_of(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let the validations find these scores."""
    log = SegmentationModule.log_dict

    def invented(self: SegmentationModule, found: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        if "validation_score" in found:
            found["validation_score"] = scores[self.current_epoch]
        log(self, found, **options)

    monkeypatch.setattr(SegmentationModule, "log_dict", invented)


SCORES = [0.1, 0.5, 0.2, 0.5, 0.3, 0.9]


@pytest.mark.parametrize(("patience", "epochs"), [("null", 6), ("1", 3), ("2", 4), ("4", 6)])
def test_early_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: str, epochs: int) -> None:
    scores_of(monkeypatch, SCORES)
    settings = ("adversarial.selection=none", "training.epochs=6", f"training.patience={patience}")
    train(config(*settings), pack(), tmp_path)
    assert len(pl.read_csv(tmp_path / "metrics.csv")) == epochs  # an equal score is no improvement


def test_a_training_that_stopped_early_and_is_resumed_stays_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores_of(monkeypatch, SCORES)
    run = config("training.epochs=6", "training.patience=2")
    whole = train(run, pack(), tmp_path / "whole")
    with pytest.raises(Killed):
        train(run, pack(), tmp_path / "killed", report=killing_after(4))
    kept = (tmp_path / "killed" / "checkpoints").iterdir()
    assert sorted(path.name for path in kept) == ["best-1", "last.ckpt"]  # the first of equal scores
    assert same_weights(whole, train(run, pack(), tmp_path / "killed", report=killing_after(5)))
    assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(tmp_path / "killed"))


def test_scores_that_are_undefined_are_never_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_of(monkeypatch, [float("nan"), 0.1, float("nan")])
    train(config("training.patience=2"), pack(), tmp_path / "some", report=killing_after(9))
    assert pl.read_csv(tmp_path / "some" / "metrics.csv")["validation_score"].is_nan().to_list() == [True, False, True]
    scores_of(monkeypatch, [float("nan")] * 3)
    train(config(), pack(), tmp_path / "none")  # the last epoch's weights are kept
    assert (tmp_path / "none" / "model" / "model.json").exists()


def test_a_damaged_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(config(), pack(), tmp_path, report=killing_after(1))
    last = tmp_path / "checkpoints" / "last.ckpt"
    for content in (last.read_bytes()[:2000], b"", b"not a checkpoint"):
        last.write_bytes(content)
        with pytest.raises(RunError, match=r"last\.ckpt' is damaged.*delete .*checkpoints"):
            train(config(), pack(), tmp_path)


@pytest.mark.slow
def test_killed_processes_equal_an_undisturbed_one(tmp_path: Path) -> None:
    done = start(five_epochs, tmp_path / "whole", log=tmp_path / "whole.log").wait()
    assert (done, (tmp_path / "whole.log").read_text().split()) == (0, ["1", "2", "3", "4", "5"])
    log = tmp_path / "killed.log"
    for after in ("2", "4"):
        process = start(five_epochs, tmp_path / "killed", log=log)
        while not (log.exists() and after in log.read_text().split()):
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    log.unlink()
    assert start(five_epochs, tmp_path / "killed", log=log).wait() == 0
    assert log.read_text().split() in (["5"], ["4", "5"])  # the fourth may not have been written yet
    assert same_weights(Segmenter.load(tmp_path / "whole" / "model"), Segmenter.load(tmp_path / "killed" / "model"))
    assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(tmp_path / "killed"))


def test_a_run_is_resumed_in_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tilde is expanded, no wildcard, and no address read into the path."""
    use_tiny_networks(monkeypatch)
    monkeypatch.chdir(tmp_path)
    folder, run, done = Path("~/r::[1] #%*"), config("training.epochs=2"), list[int]()
    with pytest.raises(Killed):
        train(run, pack(), folder, report=killing_after(1))
    train(run, pack(), folder, report=lambda epoch, total: done.append(epoch))
    assert done == [2]
    assert (folder / "model" / "model.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["~"]
