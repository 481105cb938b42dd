"""A training that is killed and goes on equals one that was left alone, bit for bit; what cannot go on says why."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.training.tiny import config, network, pack, repeatable_metrics, same_weights
from torch import nn

from trustseg.data import split_cases
from trustseg.data.module import as_images, pack_loader
from trustseg.data.seen import seen_by
from trustseg.errors import ConfigError, DataError, MissingPackageError, RunError
from trustseg.metrics import dice
from trustseg.models import ARCHITECTURES, Segmenter
from trustseg.training import train
from trustseg.training.module import SegmentationModule
from trustseg.training.run import prepare_run


class Killed(Exception):
    """Something stopped the process."""


def killing_after(epoch: int) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done == epoch:
            raise Killed

    return report


@pytest.mark.parametrize(
    "settings",
    [
        ["adversarial.selection=none"],
        ["adversarial.selection=uncertain", "adversarial.mode=append"],
        ["model.head=bernoulli", "adversarial.selection=random", "adversarial.attack=r_fgsm"],
        ["training.validation_every=2"],
        ["training.precision=bf16-mixed"],
        ["training.monitor=last"],
        ["training.accumulate=2", "data.residence=ram"],
        ["adversarial.scores=memory", "training.validation_every=2"],
        ["adversarial.scores=memory", "adversarial.mode=append", "adversarial.weight_perturbation=0.01"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_resumed_equals_uninterrupted(tmp_path: Path, settings: list[str], epoch: int) -> None:
    run, images = config(*settings), pack()
    whole = train(run, images, tmp_path / "whole")
    with pytest.raises(Killed):
        train(run, images, tmp_path / "killed", report=killing_after(epoch))
    assert not (tmp_path / "killed" / "model").exists()
    (tmp_path / "killed").rename(tmp_path / "moved")  # a run may be copied elsewhere before it goes on
    resumed = train(run, images, tmp_path / "moved")
    assert same_weights(whole, resumed)
    assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(tmp_path / "moved"))
    assert not (tmp_path / "moved" / "checkpoints").exists()


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


def test_the_same_run_twice_gives_the_same_bits(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = train(config(), pack(), tmp_path / "one")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    other = train(config(), pack(), tmp_path / "other")
    assert torch.equal(torch.get_rng_state(), state)
    assert same_weights(one, other)
    assert repeatable_metrics(tmp_path / "one").equals(repeatable_metrics(tmp_path / "other"))
    assert not same_weights(one, train(config("training.seed=1"), pack(), tmp_path / "seed"))


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    run, images = config("training.epochs=1"), pack()
    made = train(run, images, tmp_path)
    written = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    found = train(run, images, tmp_path, report=killing_after(1))
    assert same_weights(made, found)
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == written
    assert not found.training
    view, _ = as_images(next(iter(pack_loader(images, np.arange(4), batch_size=4))))
    assert torch.equal(made.belief(view).log_odds, found.belief(view).log_odds)


def test_test_images_are_not_looked_at(tmp_path: Path) -> None:
    run, images = config(), pack()
    rows = (images.index["split"] == "test").arg_true().to_numpy()
    spoilt, wrong = images.images.copy(), images.masks.copy()
    spoilt[rows] = 255 - spoilt[rows]
    wrong[rows] = 1 - wrong[rows]
    one = train(run, images, tmp_path / "one")
    other = train(run, replace(images, images=spoilt, masks=wrong), tmp_path / "other")
    assert same_weights(one, other)
    assert repeatable_metrics(tmp_path / "one").equals(repeatable_metrics(tmp_path / "other"))


@pytest.mark.parametrize("monitor", ["clean", "robust", "both"])
def test_the_best_epoch_is_that_of_the_highest_score(tmp_path: Path, monitor: str) -> None:
    run, images = config("training.epochs=6", f"training.monitor={monitor}", "training.augment=false"), pack()
    best = train(run, images, tmp_path)
    table = pl.read_csv(tmp_path / "metrics.csv")
    assert table["epoch"].to_list() == list(range(6))
    clean, robust = table["validation_dice"], table["validation_robust_dice"]
    score = {"clean": clean, "robust": robust, "both": (clean + robust) / 2}[monitor]
    torch.testing.assert_close(torch.tensor(table["validation_score"]), torch.tensor(score))
    rows = split_cases(images.index).validation
    seen, masks = as_images(next(iter(pack_loader(images, rows, batch_size=len(rows)))))
    with torch.no_grad():
        found = dice(best.belief(seen).log_odds > 0, masks).nanmean()
    assert float(found) == pytest.approx(clean.gather(score.arg_max()), abs=1e-6)  # type: ignore[arg-type]


def test_validation_columns_are_empty_where_nothing_was_validated(tmp_path: Path) -> None:
    train(config("training.epochs=4", "training.validation_every=2"), pack(), tmp_path)
    table = pl.read_csv(tmp_path / "metrics.csv")
    assert table["validation_score"].is_null().to_list() == [True, False, True, False]
    assert table["train_loss"].is_null().to_list() == [False] * 4
    assert table["eps"].to_list() == pytest.approx([0, 2 / 255, 4 / 255, 4 / 255])
    assert table["kl_weight"].to_list() == pytest.approx([0, 0.05, 0.1, 0.1])


def scores_of(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let the validations find these scores."""
    log = SegmentationModule.log_dict

    def invented(self: SegmentationModule, found: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        if "validation_score" in found:
            found["validation_score"] = scores[self.current_epoch]
        log(self, found, **options)

    monkeypatch.setattr(SegmentationModule, "log_dict", invented)


SCORES = [0.1, 0.5, 0.2, 0.5, 0.3, 0.9]


@pytest.mark.parametrize(("patience", "epochs"), [("null", 6), ("1", 3), ("2", 4), ("3", 5), ("4", 6)])
def test_early_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: str, epochs: int) -> None:
    scores_of(monkeypatch, SCORES)
    train(config("training.epochs=6", f"training.patience={patience}"), pack(), tmp_path)
    assert len(pl.read_csv(tmp_path / "metrics.csv")) == epochs  # an equal score is no improvement


def test_a_training_that_stopped_early_and_is_resumed_stays_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores_of(monkeypatch, SCORES)
    run = config("training.epochs=6", "training.patience=2")
    whole = train(run, pack(), tmp_path / "whole")
    with pytest.raises(Killed):
        train(run, pack(), tmp_path / "killed", report=killing_after(4))
    assert same_weights(whole, train(run, pack(), tmp_path / "killed", report=killing_after(5)))
    assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(tmp_path / "killed"))


def test_the_first_of_equal_scores_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_of(monkeypatch, SCORES)
    with pytest.raises(Killed):
        train(config("training.epochs=6"), pack(), tmp_path, report=killing_after(4))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best-1", "last.ckpt"]


def test_scores_that_are_undefined_are_never_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_of(monkeypatch, [float("nan"), 0.1, float("nan")])
    train(config("training.patience=2"), pack(), tmp_path / "some", report=killing_after(9))
    assert pl.read_csv(tmp_path / "some" / "metrics.csv")["validation_score"].is_nan().to_list() == [True, False, True]
    scores_of(monkeypatch, [float("nan")] * 3)
    train(config(), pack(), tmp_path / "none")  # the last epoch's weights are kept
    assert (tmp_path / "none" / "model" / "model.json").exists()


def test_a_set_without_any_infection_trains(tmp_path: Path) -> None:
    train(config("training.epochs=1"), pack(train=8, empty=8), tmp_path)
    assert (tmp_path / "model" / "model.json").exists()


@pytest.mark.parametrize("count", [2, 3])
def test_fewer_images_than_a_batch(tmp_path: Path, count: int) -> None:
    train(config("training.epochs=1"), pack(train=count), tmp_path)
    assert (tmp_path / "model" / "model.json").exists()


def test_one_image_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected at least 2"):
        train(config(), pack(train=1), tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"^the loss of epoch 1 is not finite, a finite one was expected; lower training\.learning_rate"
    ):
        train(config("training.learning_rate=1e38", "adversarial.selection=none"), pack(), tmp_path)
    assert not (tmp_path / "model").exists()


class Cliff(torch.autograd.Function):
    """A finite value whose gradient is not."""

    @staticmethod
    def forward(context: Any, maps: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return maps.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return gradient / 0


def test_a_gradient_that_is_not_finite_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cliffs(torch.nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = Cliff.apply(super().forward(images))  # type: ignore[no-untyped-call]
            return maps

    def build(encoder: str, *, channels: int, outputs: int, depth: int = 5) -> torch.nn.Module:
        return Cliffs(network(encoder, channels=channels, outputs=outputs))

    monkeypatch.setitem(ARCHITECTURES, "unet", build)
    with pytest.raises(RunError, match=r"gradient of epoch 1 is not finite"):
        train(config(), pack(), tmp_path)


def test_a_damaged_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(config(), pack(), tmp_path, report=killing_after(1))
    last = tmp_path / "checkpoints" / "last.ckpt"
    for content in (last.read_bytes()[:2000], b"", b"not a checkpoint"):
        last.write_bytes(content)
        with pytest.raises(RunError, match=r"last\.ckpt' is damaged.*delete .*checkpoints"):
            train(config(), pack(), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.accelerator=gpu.*set training\.accelerator=cpu"):
        train(config("training.accelerator=gpu"), pack(), tmp_path)


def test_an_accelerator_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.accelerator"):
        train(config("training.accelerator=abacus"), pack(), tmp_path)


@pytest.mark.parametrize("logger", ["tensorboard", "mlflow"])
def test_a_tracker_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str) -> None:
    def broken(*args: Any, **options: Any) -> None:  # noqa: ANN401
        raise ModuleNotFoundError(f"No module named '{logger}'")

    name = {"tensorboard": "TensorBoardLogger", "mlflow": "MLFlowLogger"}[logger]
    monkeypatch.setattr(f"lightning.pytorch.loggers.{name}", broken)
    with pytest.raises(MissingPackageError, match=rf"pip install 'trustseg\[{logger}\]' or set training.logger=csv"):
        train(config(f"training.logger={logger}"), pack(), tmp_path)


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(config("training.epochs=1", "training.logger=tensorboard"), pack(), tmp_path)
    assert list((tmp_path / "tensorboard").glob("events.out.*"))
    assert len(repeatable_metrics(tmp_path)) == 1


def squeezing(encoder: str, *, channels: int, outputs: int, depth: int = 5) -> nn.Module:
    """A network whose deepest layer is one pixel, normalised."""
    deep = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(channels), nn.Upsample(32))
    return nn.Sequential(deep, nn.Conv2d(channels, outputs, 1))


def test_one_image_a_batch_that_cannot_be_normalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "unet", squeezing)
    with pytest.raises(ConfigError, match=r"training\.batch_size to 2 or more, or raise data\.size"):
        train(config("training.batch_size=1"), pack(), tmp_path)
    train(config("training.batch_size=2", "training.epochs=1"), pack(), tmp_path / "two")


def test_whom_the_model_has_seen(tmp_path: Path) -> None:
    run, images = config("training.epochs=1", "data.fold=2"), pack()
    train(run, images, tmp_path)
    splits = split_cases(images.index, fold=2)
    seen = seen_by(tmp_path / "model")
    assert seen is not None
    assert seen.digest == images.digest
    assert seen.patients == set(images.index["patient"].gather([*splits.train, *splits.validation]))
    about = json.loads((tmp_path / "model" / "splits.json").read_text())
    assert about["unknown_patients"] == len(images)


def test_nothing_is_said_on_the_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(config("training.epochs=1"), pack(), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_run_folder(tmp_path: Path) -> None:
    run, images = config("training.epochs=1"), pack()
    prepare_run(run, images, tmp_path)
    train(run, images, tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        *("config.yaml", "metrics.csv"),
        *("model/model.json", "model/model.safetensors", "model/splits.json", "provenance.json"),
    ]
    prepare_run(run, images, tmp_path)  # the same again is welcome
    with pytest.raises(ConfigError, match=r"other settings.*give another --output"):
        prepare_run(config(), images, tmp_path)
    with pytest.raises(ConfigError, match=r"images.*not those that the run.*began with"):
        prepare_run(run, pack(train=13), tmp_path)


RUN = """
import sys
from pathlib import Path
from tests.training.tiny import config, network, pack
from trustseg.models import ARCHITECTURES
from trustseg.training import train
ARCHITECTURES["unet"] = network
train(config("training.epochs=5"), pack(), Path(sys.argv[1]), report=lambda done, total: print(done, flush=True))
"""


@pytest.mark.slow
def test_killed_processes_equal_an_undisturbed_one(tmp_path: Path) -> None:
    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUN, str(folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])

    with start(tmp_path / "whole") as whole:
        assert whole.stdout is not None
        assert whole.stdout.read().split() == ["1", "2", "3", "4", "5"]
    for after in ("2", "4"):
        with start(tmp_path / "killed") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == after:
                    process.send_signal(signal.SIGKILL)
    with start(tmp_path / "killed") as process:
        assert process.stdout is not None
        assert process.stdout.read().split() == ["5"]
    assert same_weights(Segmenter.load(tmp_path / "whole" / "model"), Segmenter.load(tmp_path / "killed" / "model"))
    assert repeatable_metrics(tmp_path / "whole").equals(repeatable_metrics(tmp_path / "killed"))


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """Both start from the same command, as Lightning does it; one of them writes and speaks."""
    code = RUN.replace("training.epochs=5", 'training.epochs=2", "training.devices=2", "adversarial.scores=memory')
    (tmp_path / "script.py").write_text(code)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in environment.items() if not name.startswith(("PYTEST", "LOCAL_RANK"))}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "run")]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    assert found.stdout.split() == ["1", "2"]
    assert found.stderr == ""
    table = pl.read_csv(tmp_path / "run" / "metrics.csv")
    assert table["score_age"].to_list() == [None, 1.0]  # what the other process saw is known too
    assert table["forward_passes"].to_list() == [8, 12]  # of both processes
    assert all(weight.isfinite().all() for weight in Segmenter.load(tmp_path / "run" / "model").parameters())
