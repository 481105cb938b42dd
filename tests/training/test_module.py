"""The options of model and loss reach the training and what it leaves behind."""

from pathlib import Path

import polars as pl
import pytest
import torch
from tests.training.tiny import config, pack, same_weights, use_tiny_networks
from torch import Tensor, nn

from trustseg.models import MCDropout, Segmenter
from trustseg.training import train


def test_evidential_options_are_used_and_logged(tmp_path: Path) -> None:
    options = ["loss.kl_weight=0.4", "loss.kl_schedule=capped", "loss.kl_epochs=4", "loss.beta=fisher_squared_error"]
    train(config(*options, "loss.vacuity_correction=0.5"), pack(), tmp_path)
    table = pl.read_csv(tmp_path / "metrics.csv")
    assert table["kl_weight"].to_list() == pytest.approx([0, 0.25, 0.4])
    assert table["train_vacuity_correction"].is_finite().all()
    train(config(*options), pack(), tmp_path / "without")
    without = pl.read_csv(tmp_path / "without" / "metrics.csv")
    assert "train_vacuity_correction" not in without.columns
    assert table["train_loss"].to_list() != without["train_loss"].to_list()


def test_a_bernoulli_head_takes_no_evidential_option(tmp_path: Path) -> None:
    train(config("model.head=bernoulli", "loss.vacuity_correction=0.5", "training.epochs=1"), pack(), tmp_path)
    assert "train_vacuity_correction" not in pl.read_csv(tmp_path / "metrics.csv").columns


def test_the_noise_of_training_reaches_the_network_and_is_not_clipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    class Watched(Headed):
        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                seen.append(images.detach().clone())
            return super().forward(images)

    use_tiny_networks(monkeypatch, Watched)
    settings = ("training.epochs=1", "training.augment=false", "adversarial.selection=none")
    segmenter = train(config(*settings), pack(), tmp_path / "without")
    without, seen = torch.cat(seen), []
    train(config(*settings, "training.noise=0.25"), pack(), tmp_path / "with")
    noise = (torch.cat(seen) - without) * segmenter.deviation  # the network sees normalised images
    assert float(noise.std()) == pytest.approx(0.25, rel=0.02)  # 8,192 pixels or more
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert len({float(image.sum()) for image in noise}) == len(noise)
    shown = torch.cat(seen) * segmenter.deviation + segmenter.mean
    assert float(shown.min()) < 0
    assert float(shown.max()) > 1


class Headed(nn.Module):
    """Two layers, the last one in a head that dropout can be placed before."""

    def __init__(self, encoder: str, *, channels: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.segmentation_head = nn.Sequential(nn.Conv2d(8, outputs, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.segmentation_head(self.body(images))
        return logits


def test_dropout_is_trained_with_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch, Headed)
    train(config("training.epochs=2"), pack(), tmp_path / "without")
    segmenter = train(config("training.epochs=2", "model.dropout=0.3"), pack(), tmp_path / "with")
    loaded = Segmenter.load(tmp_path / "with" / "model")
    assert segmenter.spec.dropout == loaded.spec.dropout == 0.3
    assert not same_weights(segmenter, Segmenter.load(tmp_path / "without" / "model"))
    with torch.no_grad():
        belief = MCDropout(loaded, samples=3).belief(torch.rand(1, 1, 32, 32))
    assert float(belief.epistemic_variance().mean()) > 0
