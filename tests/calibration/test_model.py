"""A calibration on disk and around a model."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tests.evaluation.packs import small_segmenter

from trustseg.attacks import fgsm, isolated
from trustseg.calibration import Calibrated, Calibration
from trustseg.errors import MissingFileError, ModelError

FITTED = Calibration(
    method="evidence_scaling",
    parameters={"scale": 0.25},
    split="validation",
    images=7,
    patients=3,
    patients_hash="ab" * 32,
    nll_before=0.5,
    nll_after=0.4,
)
IMAGES = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_it_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    small_segmenter().save(tmp_path)
    assert Calibration.load(FITTED.save(tmp_path)) == FITTED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calibration.json", "model.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("method", "parameters", "names"),
    [
        ("evidence_scaling", {"scale": 0.25}, []),
        ("evidence_scaling", {"scale": 1e-3}, ["scale"]),
        ("evidence_scaling", {"scale": 1e3}, ["scale"]),
        ("beta_calibration", {"slope_low": 1.0, "slope_high": 1e3, "offset": -100.0}, ["slope_high", "offset"]),
        ("beta_calibration", {"slope_low": 900.0, "slope_high": 1.0, "offset": 99.0}, []),
    ],
)
def test_the_file_says_what_ended_at_its_limit(
    tmp_path: Path, method: str, parameters: dict[str, float], names: list[str]
) -> None:
    small_segmenter().save(tmp_path)
    fitted = dataclasses.replace(FITTED, method=method, parameters=parameters)
    about = json.loads((fitted.save(tmp_path) / "calibration.json").read_text())
    assert about["at_limit"] == names == list(fitted.at_limit)
    assert Calibration.load(tmp_path) == fitted


def test_it_belongs_to_one_model(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"model\.json"):
        FITTED.save(tmp_path)
    small_segmenter().save(tmp_path)
    with pytest.raises(MissingFileError, match=r"calibration\.json"):
        Calibration.load(tmp_path)
    FITTED.save(tmp_path)
    small_segmenter(seed=1).save(tmp_path)
    with pytest.raises(ModelError, match="fitted for other weights than those next to it; fit it again"):
        Calibration.load(tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"format": 2}, "not a calibration of format 1"),
        ({"images": ...}, "images: "),
        ({"surprise": 1}, "surprise: "),
        ({"images": "7"}, "images: "),
        ({"images": True}, "images: "),
        ({"nll_after": None}, "nll_after: "),
        ({"parameters": [0.25]}, "parameters: "),
        ({"method": "isotonic"}, "unknown method 'isotonic'"),
        ({"parameters": {"temperature": 2.0}}, "its parameters are temperature"),
        ({"parameters": {"scale": -1.0}}, "scale is -1.0"),
        ({"parameters": {"scale": "2"}}, "scale: "),
        ({"parameters": {"scale": float("nan")}}, "scale: "),
    ],
    ids=str,
)
def test_a_spoilt_file_gets_one_sentence(tmp_path: Path, changed: dict[str, object], words: str) -> None:
    small_segmenter().save(tmp_path)
    file = FITTED.save(tmp_path) / "calibration.json"
    about = json.loads(file.read_text()) | changed
    file.write_text(json.dumps({key: value for key, value in about.items() if value is not ...}))
    with pytest.raises(ModelError, match=f"{words}.*fit it again"):
        Calibration.load(tmp_path)


def test_a_calibrated_model_believes_the_calibrated_belief() -> None:
    segmenter = small_segmenter().eval()
    model = Calibrated(segmenter, FITTED)
    with torch.no_grad():
        plain, calibrated = segmenter.belief(IMAGES), model.belief(IMAGES)
        with isolated(model):
            assert torch.equal(model(IMAGES).log_odds, calibrated.log_odds)
    torch.testing.assert_close(calibrated.log_odds, FITTED.apply(plain).log_odds)
    assert torch.equal(calibrated.log_odds > 0, plain.log_odds > 0)
    assert calibrated.probability.dtype == torch.float32
    assert (calibrated.uncertainty("vacuity") > plain.uncertainty("vacuity")).all()
    assert (model.passes, model.spec) == (1, segmenter.spec)
    assert model.weights() != Calibrated(segmenter, dataclasses.replace(FITTED, parameters={"scale": 0.5})).weights()
    attacked = fgsm(model, IMAGES, (IMAGES > 0.5).float(), eps=4 / 255)
    assert attacked.shape == IMAGES.shape
    assert not torch.equal(attacked, IMAGES)
