"""``trustseg calibrate``: fitted on what the model was validated on, applied by the other commands from then on."""

from pathlib import Path

import polars as pl
import pytest
import torch
from tests.cli.conftest import Command, Outcome, Run, done, refusal, write_model

from trustseg.calibration import Calibrated, Calibration, fit_calibration
from trustseg.data import open_dataset, split_cases
from trustseg.metrics import expected_calibration_error
from trustseg.models import Segmenter

FILMS = "films/Test Set/Images"


@pytest.fixture
def calibrate(command: Command, phantoms: None) -> Run:
    """Run ``trustseg calibrate`` on a model of fold 1 of some phantoms, of a beta head unless told otherwise."""

    def run(*arguments: str, head: str = "beta") -> Outcome:
        write_model("run", head=head, fold=1)
        return command("calibrate", "run/model", *arguments)

    return run


@pytest.mark.parametrize(
    ("head", "arguments", "method"),
    [
        ("beta", [], "evidence_scaling"),
        ("bernoulli", [], "temperature_scaling"),
        ("bernoulli", ["--method", "beta"], "beta_calibration"),
    ],
)
def test_it_is_fitted_on_the_validation_images_and_kept(
    calibrate: Run, head: str, arguments: list[str], method: str
) -> None:
    found = done(calibrate(*arguments, head=head))
    assert "calibration: run/model/calibration.json" in found.splitlines()
    fitted = Calibration.load("run/model")
    pack, segmenter = open_dataset("films", size=32), Segmenter.load("run/model")
    rows = split_cases(pack.index, fold=1).validation
    images, masks = (torch.from_numpy(maps[rows]).float() for maps in (pack.images, pack.masks))
    with torch.no_grad():
        belief = segmenter.belief(images / 255)
    patients = pack.index["patient"].gather(rows.tolist()).to_list()
    expected = fit_calibration([(belief, masks)], method=method, patients=patients)
    assert fitted.parameters == pytest.approx(dict(expected.parameters), rel=1e-4)
    assert (fitted.method, fitted.patients_hash) == (method, expected.patients_hash)
    for map_ in (belief, expected.apply(belief)):
        assert f"{expected_calibration_error(map_.probability, masks).item():.4f}" in found
    assert f"{expected.nll_before:.4f}" in found
    assert f"{expected.nll_after:.4f}" in found
    assert expected.nll_after < expected.nll_before


@pytest.mark.parametrize("found", [1000.0, 10.0])
def test_a_fit_that_ended_at_its_limit_says_so(calibrate: Run, monkeypatch: pytest.MonkeyPatch, found: float) -> None:
    fitted = Calibration("temperature_scaling", {"temperature": found}, "validation", 3, 3, "", 0.7, 0.6)
    monkeypatch.setattr("trustseg.calibration.fit_calibration", lambda *arguments, **options: fitted)
    lines = [line for line in calibrate(head="bernoulli").out.splitlines() if line.startswith("warning:")]
    assert len(lines) == (found == 1000)
    assert all("3 images ended at its limit (temperature)" in line for line in lines)


def test_evaluate_and_predict_apply_it_unless_told_otherwise(calibrate: Run, command: Command) -> None:
    done(calibrate())
    nll, scores = [], []
    for arguments, suffix in (([], "-calibrated"), (["--uncalibrated"], "")):
        done(command("evaluate", "run", "evaluation.attacks=[]", *arguments))
        records = pl.read_parquet(f"run/evaluation-test{suffix}/records.parquet")
        assert records["variant"].unique().to_list() == [f"run{suffix}"]
        nll.append(records["nll"].to_list())
        done(command("predict", "run", FILMS, "-o", f"out{suffix}", *arguments))
        scores.append(pl.read_csv(f"out{suffix}/predictions.csv").sort("image"))
    assert nll[0] != nll[1]
    assert scores[0]["uncertainty"].to_list() != scores[1]["uncertainty"].to_list()
    assert scores[0]["predicted_fraction"].to_list() == scores[1]["predicted_fraction"].to_list()  # decisions stay
    model = Calibrated(Segmenter.load("run/model"), Calibration.load("run/model"))
    assert model.belief(torch.zeros(1, 1, 32, 32)).probability.shape == (1, 1, 32, 32)


def test_a_policy_of_uncalibrated_scores_is_refused_for_calibrated_ones(calibrate: Run, command: Command) -> None:
    done(calibrate())
    for flags in (["--uncalibrated"], []):
        done(command("evaluate", "run", "--split", "validation", *flags))
    for folder, fitting, other in (("", ["--uncalibrated"], []), ("-calibrated", [], ["--uncalibrated"])):
        done(command("defer", "fit", f"run/evaluation-validation{folder}", "--at-most", "0.5"))
        done(command("predict", "run", FILMS, "-o", f"out{folder}", "--policy", "policy.json", *fitting))
        found = command("predict", "run", FILMS, "-o", "refused", "--policy", "policy.json", *other)
        assert "the policy was fitted for model" in refusal(found)
        assert not Path("refused").exists()
