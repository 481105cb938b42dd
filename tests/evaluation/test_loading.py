"""What a model's folder and the options for it make: a segmenter, a calibrated one, or a mixture."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trustseg.beliefs import Beta, Mixture
from trustseg.calibration import Calibrated, Calibration
from trustseg.config import MeasureConfig
from trustseg.errors import ConfigError
from trustseg.evaluation import load_model, measure_of, suffix_of
from trustseg.models import ARCHITECTURES, Segmenter, build_segmenter

HALVED = Calibration("evidence_scaling", {"scale": 0.5}, "validation", 3, 3, "", 0.7, 0.6)
IMAGES = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


class Headed(nn.Module):
    """Body and head, as networks here have them; nothing in it drops channels."""

    def __init__(self, encoder: str, *, channels: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(channels, 8, 3, padding=1)
        self.segmentation_head = nn.Sequential(nn.Conv2d(8, outputs, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.segmentation_head(self.body(images))
        return logits


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two models of one kind, the second calibrated."""
    monkeypatch.setitem(ARCHITECTURES, "unet", Headed)
    folders = [tmp_path / "first", tmp_path / "second"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for folder in folders:
            build_segmenter(architecture="unet", encoder="resnet18", head="beta", size=32).save(folder)
    HALVED.save(folders[1])
    return folders


def test_a_folder_without_calibration_is_the_segmenter(models: list[Path]) -> None:
    model = load_model(models[0])
    assert isinstance(model, Segmenter)
    assert suffix_of(model) == ""


def test_a_calibration_is_applied_unless_left_aside(models: list[Path]) -> None:
    model, plain = load_model(models[1]), load_model(models[1], uncalibrated=True)
    assert isinstance(model, Calibrated)
    assert isinstance(plain, Segmenter)
    assert (suffix_of(model), suffix_of(plain)) == ("-calibrated", "")
    with torch.no_grad():
        calibrated, raw = model.belief(IMAGES), plain.belief(IMAGES)
    assert isinstance(calibrated, Beta)
    assert isinstance(raw, Beta)
    torch.testing.assert_close(calibrated.alpha - 1, 0.5 * (raw.alpha - 1))


def test_each_member_of_an_ensemble_brings_its_calibration(models: list[Path]) -> None:
    model = load_model(models[0], ensemble=models[1:])
    assert suffix_of(model) == "-ensemble2-calibrated"
    with torch.no_grad():
        belief = model.belief(IMAGES)
        members = [load_model(folder).belief(IMAGES).probability for folder in models]
    assert isinstance(belief, Mixture)
    torch.testing.assert_close(belief.probability, torch.stack(members).mean(0))
    plain = load_model(models[0], ensemble=models[1:], uncalibrated=True)
    assert suffix_of(plain) == "-ensemble2"
    assert plain.weights() != model.weights()
    Calibration("evidence_scaling", {"scale": 0.6}, "validation", 3, 3, "", 0.7, 0.6).save(models[1])
    assert load_model(models[0], ensemble=models[1:]).weights() != model.weights()


def test_dropout_is_placed_and_sampled(models: list[Path]) -> None:
    model = load_model(models[0], samples=3, dropout=0.25)
    assert (model.passes, suffix_of(model)) == (3, "-mc3-dropout0.25")
    assert isinstance(model.belief(IMAGES), Mixture)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dropout": 0.2}, "--dropout 0.2 needs --mc-dropout"),
        ({"samples": 2, "ensemble": True}, "cannot be combined"),
        ({"samples": 2, "dropout": 0.2, "calibrated": True}, "add --uncalibrated"),
    ],
)
def test_options_that_exclude_each_other(models: list[Path], options: dict[str, float], words: str) -> None:
    first = models[1] if options.pop("calibrated", False) else models[0]
    others = models[1:] if options.pop("ensemble", False) else []
    with pytest.raises(ConfigError, match=words):
        load_model(first, ensemble=others, **options)  # type: ignore[arg-type]  # samples are whole here


@pytest.mark.parametrize(
    ("asked", "of_mixture"), [("vacuity", "entropy"), ("mutual_information", "mutual_information")]
)
def test_a_mixture_is_scored_by_a_measure_that_it_has(models: list[Path], asked: str, of_mixture: str) -> None:
    measure = MeasureConfig(bernoulli="entropy", beta=asked)
    assert measure_of(load_model(models[0]), measure) == asked
    for mixture in (load_model(models[0], ensemble=models[1:]), load_model(models[0], samples=2, dropout=0.2)):
        assert measure_of(mixture, measure) == of_mixture
        assert mixture.belief(IMAGES).uncertainty(of_mixture).shape == (2, 1, 32, 32)


def test_a_bernoulli_head_is_scored_by_its_own_measure(models: list[Path], tmp_path: Path) -> None:
    build_segmenter(architecture="unet", encoder="resnet18", head="bernoulli", size=32).save(tmp_path / "third")
    for model in (load_model(tmp_path / "third"), load_model(tmp_path / "third", ensemble=[tmp_path / "third"])):
        assert measure_of(model, MeasureConfig(bernoulli="variance", beta="mutual_information")) == "variance"
