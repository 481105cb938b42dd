"""A calibration on disk and around a model."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trustseg.attacks import fgsm, isolated
from trustseg.beliefs import Bernoulli
from trustseg.calibration import Calibrated, Calibration, fit_calibration
from trustseg.errors import BeliefError, DataError, MissingFileError, ModelError
from trustseg.models import build_segmenter

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
    build_segmenter().save(tmp_path)
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
    build_segmenter().save(tmp_path)
    fitted = dataclasses.replace(FITTED, method=method, parameters=parameters)
    about = json.loads((fitted.save(tmp_path) / "calibration.json").read_text())
    assert about["at_limit"] == names == list(fitted.at_limit)
    assert Calibration.load(tmp_path) == fitted


def test_it_belongs_to_one_model(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"model\.json"):
        FITTED.save(tmp_path)
    build_segmenter().save(tmp_path)
    with pytest.raises(MissingFileError, match=r"calibration\.json"):
        Calibration.load(tmp_path)
    FITTED.save(tmp_path)
    build_segmenter().save(tmp_path)
    with pytest.raises(ModelError, match="fitted for other weights than those next to it; fit it again"):
        Calibration.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about.update(format=2), "not a calibration of format 1"),
        (lambda about: about.pop("images"), "missing 1 required"),
        (lambda about: about.update(surprise=1), "surprise"),
        (lambda about: about.update(images="7"), "images is '7'"),
        (lambda about: about.update(images=True), "images is True"),
        (lambda about: about.update(nll_after=None), "nll_after is None"),
        (lambda about: about.update(parameters=[0.25]), r"parameters is \[0.25\]"),
        (lambda about: about.update(method="isotonic"), "unknown method 'isotonic'"),
        (lambda about: about.update(parameters={"temperature": 2.0}), "its parameters are temperature"),
        (lambda about: about.update(parameters={"scale": -1.0}), "scale is -1.0"),
        (lambda about: about.update(parameters={"scale": "2"}), "scale is '2'"),
        (lambda about: about.update(parameters={"scale": float("nan")}), "scale is nan"),
    ],
)
def test_a_spoilt_file_gets_one_sentence(
    tmp_path: Path, change: Callable[[dict[str, object]], object], words: str
) -> None:
    build_segmenter().save(tmp_path)
    file = FITTED.save(tmp_path) / "calibration.json"
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))
    with pytest.raises(ModelError, match=words) as caught:
        Calibration.load(tmp_path)
    assert "fit it again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_json_gets_a_sentence(tmp_path: Path) -> None:
    build_segmenter().save(tmp_path)
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        Calibration.load(tmp_path)


def test_a_calibrated_model_believes_the_calibrated_belief() -> None:
    segmenter = build_segmenter(head="beta", size=32).eval()
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


def test_a_calibration_of_another_head_is_refused() -> None:
    model = Calibrated(build_segmenter(head="bernoulli", size=32).eval(), FITTED)
    with pytest.raises(BeliefError, match="evidence_scaling takes a Beta belief, got a Bernoulli"):
        model.belief(IMAGES)


def test_fit_save_load_apply_end_to_end(tmp_path: Path) -> None:
    segmenter = build_segmenter(head="bernoulli", size=32).eval()
    masks = (torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.2).float()
    with torch.no_grad():
        batches = [(segmenter.belief(IMAGES), masks)]
        fitted = fit_calibration(batches, method="beta_calibration", patients=["a", "b"])
        segmenter.save(tmp_path)
        loaded = Calibration.load(fitted.save(tmp_path))
        belief = Calibrated(segmenter, loaded).belief(IMAGES)
    assert isinstance(belief, Bernoulli)
    assert loaded == dataclasses.replace(fitted, parameters=dict(fitted.parameters))
    assert belief.probability.mean().item() == pytest.approx(masks.mean().item(), abs=0.01)  # the fit has an offset
