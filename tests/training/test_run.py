"""A run repeats bit for bit and reads no test image; what cannot be trained says why."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.training.tiny import (
    config,
    killing_after,
    network,
    pack,
    repeatable_metrics,
    same_weights,
    use_tiny_networks,
)
from torch import nn

from trustseg.data import Pack, split_cases
from trustseg.data.batches import as_images, pack_loader
from trustseg.data.training_record import require_no_leakage, require_training_record
from trustseg.errors import ConfigError, DataError, MissingPackageError, RunError
from trustseg.training import train
from trustseg.training.provenance import prepare_run


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


def test_lesions_that_all_vanish_are_refused(tmp_path: Path) -> None:
    images = pack(train=8, empty=8)
    lost = images.index.with_columns(foreground_native=pl.lit(9))
    with pytest.raises(DataError, match="vanish"):
        train(config(), replace(images, index=lost), tmp_path)


@pytest.mark.parametrize("images", [pack(train=2), pack(train=8, empty=8)], ids=["fewer than a batch", "no lesion"])
def test_a_poor_set_trains(tmp_path: Path, images: Pack) -> None:
    train(config("training.epochs=1"), images, tmp_path)
    assert (tmp_path / "model" / "model.json").exists()


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^the loss of epoch 1 is not finite; lower training\.learning_rate"):
        train(config("training.learning_rate=1e38", "adversarial.selection=none"), pack(), tmp_path)
    assert not (tmp_path / "model").exists()


def test_an_attack_on_a_diverged_model_ends_the_run_with_the_epoch(tmp_path: Path) -> None:
    """The attack of the second batch meets weights that the first one made infinite."""
    settings = ("adversarial.selection=random", "adversarial.warmup_epochs=0", "training.learning_rate=1e38")
    with pytest.raises(RunError, match="epoch 1"):
        train(config(*settings, "training.clip_norm=1e38"), pack(), tmp_path)


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

    def build(encoder: str, *, channels: int, outputs: int) -> torch.nn.Module:
        return Cliffs(network(encoder, channels=channels, outputs=outputs))

    use_tiny_networks(monkeypatch, build)
    with pytest.raises(RunError, match=r"gradient of epoch 1 is not finite"):
        train(config(), pack(), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.accelerator=gpu.*set training\.accelerator=cpu"):
        train(config("training.accelerator=gpu"), pack(), tmp_path)


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


def squeezing(encoder: str, *, channels: int, outputs: int) -> nn.Module:
    """A network whose deepest layer is one pixel, normalised."""
    deep = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(channels), nn.Upsample(32))
    return nn.Sequential(deep, nn.Conv2d(channels, outputs, 1))


def test_one_image_a_batch_that_cannot_be_normalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch, squeezing)
    with pytest.raises(ConfigError, match=r"training\.batch_size.*data\.size"):
        train(config("training.batch_size=1"), pack(), tmp_path)
    train(config("training.batch_size=2", "training.epochs=1"), pack(), tmp_path / "two")


def test_whom_the_model_has_seen(tmp_path: Path) -> None:
    run, images = config("training.epochs=1", "data.fold=2"), pack()
    train(run, images, tmp_path)
    splits = split_cases(images.index, fold=2)
    seen = require_training_record(tmp_path / "model")
    require_no_leakage(seen, images, splits.test)
    for row in (*splits.train, *splits.validation):
        with pytest.raises(DataError, match=images.index["name"].gather([row])[0]):
            require_no_leakage(seen, images, np.array([row]))
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
        *("config.yaml", "metrics.csv", "model/data.json", "model/epoch.json"),
        *("model/model.json", "model/model.safetensors", "model/splits.json", "provenance.json"),
    ]
    prepare_run(run, images, tmp_path)  # the same again is welcome
    with pytest.raises(ConfigError, match=r"other settings.*give another --output"):
        prepare_run(config(), images, tmp_path)
    with pytest.raises(ConfigError, match=r"images.*have changed since the run"):
        prepare_run(run, pack(train=13), tmp_path)
