"""``trustseg calibrate``: fitted on what the model was validated on, applied by the other commands from then on."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from tests.cli.conftest import Command, Outcome, changed, one_sentence
from tests.training.tiny import use_tiny_networks

from trustseg.calibration import Calibrated, Calibration, fit_calibration
from trustseg.data import open_dataset, split_cases, write_phantoms
from trustseg.data.seen import write_splits
from trustseg.files import write_text
from trustseg.metrics import expected_calibration_error
from trustseg.models import Segmenter, build_segmenter

SETTINGS = ["evaluation.attacks=[{name: fgsm, eps: [4/255]}]", "training.accelerator=cpu"]

Calibrate = Callable[..., Outcome]


@pytest.fixture
def calibrate(command: Command, monkeypatch: pytest.MonkeyPatch) -> Calibrate:
    """Run ``trustseg calibrate`` on a model of fold 1 of some phantoms, of a beta head unless told otherwise."""
    use_tiny_networks(monkeypatch)
    write_phantoms("films", train=8, test=4, control=2, size=32, seed=0)
    pack = open_dataset("films", size=32)

    def run(*arguments: str, head: str = "beta") -> Outcome:
        if not Path("run/model/model.json").exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                build_segmenter(architecture="unet", encoder="resnet18", head=head, size=32).save("run/model")
            write_splits(Path("run/model"), pack, split_cases(pack.index, fold=1))
            write_text(Path("run/config.yaml"), f"data: {{path: films, fold: 1}}\nmodel: {{head: {head}}}\n")
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
    calibrate: Calibrate, head: str, arguments: list[str], method: str
) -> None:
    found = calibrate(*arguments, head=head)
    assert found.code == 0
    assert "calibration: run/model/calibration.json" in found.out.splitlines()
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
        assert f"{expected_calibration_error(map_.probability, masks).item():.4f}" in found.out
    assert f"{expected.nll_before:.4f}" in found.out
    assert f"{expected.nll_after:.4f}" in found.out
    assert expected.nll_after < expected.nll_before


def test_keys_are_listed_where_the_help_says_so(command: Command) -> None:
    for verb in (["calibrate"], ["defer", "masks"]):
        found = command(*verb, "--keys")
        assert found.code == 0
        assert "data.validation_fraction" in found.out


def test_a_policy_of_uncalibrated_scores_is_refused_for_calibrated_ones(calibrate: Calibrate, command: Command) -> None:
    assert calibrate().code == 0
    for flags in (["--uncalibrated"], []):
        assert command("evaluate", "run/model", "evaluation.attacks=[]", "--split", "validation", *flags).code == 0
    films = "films/Test Set/Images"
    for folder, fitting, other in (("", ["--uncalibrated"], []), ("-calibrated", [], ["--uncalibrated"])):
        assert command("defer", "fit", f"run/evaluation-validation{folder}", "--at-most", "0.5").code == 0
        assert (
            command("predict", "run/model", films, "-o", f"out{folder}", "--policy", "policy.json", *fitting).code == 0
        )
        found = command("predict", "run/model", films, "-o", "refused", "--policy", "policy.json", *other)
        assert found.code == 2
        assert "the policy was fitted for model" in one_sentence(found)
        assert not Path("refused").exists()


@pytest.mark.parametrize("found", [1000.0, 10.0])
def test_a_fit_that_ended_at_its_limit_says_so(
    calibrate: Calibrate, monkeypatch: pytest.MonkeyPatch, found: float
) -> None:
    fitted = Calibration("temperature_scaling", {"temperature": found}, "validation", 3, 3, "", 0.7, 0.6)
    monkeypatch.setattr("trustseg.calibration.fit_calibration", lambda *arguments, **options: fitted)
    lines = [line for line in calibrate(head="bernoulli").out.splitlines() if line.startswith("warning:")]
    assert len(lines) == (found == 1000)
    assert all("3 images ended at its limit (temperature)" in line for line in lines)


def test_evaluate_and_predict_apply_it_unless_told_otherwise(calibrate: Calibrate, command: Command) -> None:
    assert calibrate().code == 0
    for arguments, suffix in (([], "-calibrated"), (["--uncalibrated"], "")):
        assert command("evaluate", "run/model", *changed(SETTINGS, arguments)).code == 0
        records = pl.read_parquet(f"run/evaluation-test{suffix}/records.parquet")
        assert records["variant"].unique().to_list() == [f"run{suffix}"]
        assert command("predict", "run/model", "films/Test Set/Images", "-o", f"out{suffix}", *arguments).code == 0
    nll = [pl.read_parquet(f"run/evaluation-test{end}/records.parquet")["nll"].to_list() for end in ("", "-calibrated")]
    assert nll[0] != nll[1]
    scores = [pl.read_csv(f"out{end}/predictions.csv").sort("image") for end in ("", "-calibrated")]
    assert scores[0]["uncertainty"].to_list() != scores[1]["uncertainty"].to_list()
    assert scores[0]["predicted_fraction"].to_list() == scores[1]["predicted_fraction"].to_list()  # decisions stay
    model = Calibrated(Segmenter.load("run/model"), Calibration.load("run/model"))
    assert model.belief(torch.zeros(1, 1, 32, 32)).probability.shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "temperature"], "use evidence"),
        (["--method", "platt"], "unknown calibration method 'platt'; known: beta, evidence, temperature"),
        (["data.path=others"], "not the images that the model was trained and validated on"),
        (["data.path=nowhere"], "nowhere"),
        (["model.head=bernoulli"], "has a beta head"),
    ],
)
def test_bad_requests_get_a_sentence(calibrate: Calibrate, arguments: list[str], words: str) -> None:
    write_phantoms("others", train=8, test=4, control=0, size=32, seed=1)
    found = calibrate(*arguments)
    assert found.code == 2
    assert words in one_sentence(found)
    assert not Path("run/model/calibration.json").exists()


def test_a_model_that_does_not_say_what_validated_it(calibrate: Calibrate) -> None:
    assert calibrate().code == 0
    Path("run/model/splits.json").unlink()
    found = calibrate()
    assert found.code == 2
    assert "no splits.json in 'run/model'" in one_sentence(found)
