"""``trustseg defer certify`` and ``predict`` by its policy: one mechanism, recorded draws, and what is refused."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Command, Run, done, one_sentence, refusal

from trustseg.calibration import Calibration
from trustseg.data import open_dataset, split_cases
from trustseg.deferral import certified_bound, load_certified_policy, save_policy
from trustseg.evaluation.noisy import noisy_records
from trustseg.files import write_text
from trustseg.models import Segmenter
from trustseg.review.cases import open_cases

FILMS = "films/Test Set/Images"
LOOSE = ("--at-most", "0.6", "--radius", "0.1", "--noise", "0.25")


@pytest.fixture
def certify(command: Command, untrained: Path) -> Run:
    """Run ``trustseg defer certify`` on an untrained model of fold 0 of some phantoms."""
    return lambda *arguments: command("defer", "certify", "run", *arguments)


def predictions(folder: str) -> dict[str, dict[str, str]]:
    with Path(folder, "predictions.csv").open() as stream:
        return {row["image"]: row for row in csv.DictReader(stream)}


def test_a_policy_is_fitted_and_predicts_by_the_same_mechanism(certify: Run, command: Command) -> None:
    found = certify(*LOOSE)
    done(found)
    policy = load_certified_policy(Path("run/certified.json"))
    assert policy.statement in found.out
    assert "void for other populations" in found.out
    assert "trained with training.noise=0, not 0.25" in found.err
    assert f"{certified_bound(policy.level, radius=0.2, noise=0.25):.3f}" in found.out
    pack, model = open_dataset("films", size=32), Segmenter.load("run/model")
    splits = split_cases(pack.index)
    assert policy.images == len(splits.validation)
    settings = {"measure": policy.measure, "aggregation": policy.aggregation}
    fitted = noisy_records(model, pack, splits.validation, noise=0.25, seed=0, **settings)  # type: ignore[arg-type]
    failing = fitted.filter((fitted["dice"] < 0.5) & (fitted[policy.column] <= policy.threshold))
    assert len(failing) + 1 <= policy.level * (policy.patients + 1) + 1e-9

    fitted_scale = Calibration("evidence_scaling", {"scale": 1.0}, "validation", 3, 3, "", 0.7, 0.7)
    fitted_scale.save(Path("run/model"))
    found = certify(*LOOSE, "--draws", "3", "-o", "smooth.json")
    assert found.code == 0, found.err
    assert "promise is optimistic" in found.err
    done(certify(*LOOSE, "--draws", "3", "-o", "smooth.json", "--uncalibrated"))
    Path("run/model/calibration.json").unlink()
    smooth = load_certified_policy(Path("smooth.json"))
    assert (smooth.draws, smooth.images, smooth.patients) == (3, policy.images, policy.patients)

    # The draws recorded here, of the same test images, are repeated by predict: scores and masks are those of the pass.
    tested = noisy_records(model, pack, splits.test, noise=0.25, seed=7, **settings)  # type: ignore[arg-type]
    half = replace(policy, threshold=float(np.median(tested[policy.column])), reference_scores=())
    save_policy(half, Path("half.json"))
    done(command("predict", "run", FILMS, "-o", "first", "--policy", "half.json"))
    table = predictions("first")
    own = dict(zip(tested["image"], tested["noise_seed"], strict=True))
    lines = [
        "image,noise,noise_seed,pixels",
        *(f"{n},0.25,{own[Path(n).stem]},{row['pixels']}" for n, row in table.items()),
    ]
    write_text(Path("draws.csv"), "\n".join(lines) + "\n")
    repeat = ("predict", "run", FILMS, "-o", "second", "--policy", "half.json", "--noise-seeds", "draws.csv")
    done(command(*repeat))
    for row in tested.to_dicts():
        (name,) = (name for name in table if Path(name).stem == row["image"])
        second = predictions("second")[name]
        assert float(second["uncertainty"]) == pytest.approx(row[policy.column], rel=1e-5)
        assert second["review"] == ("no" if row[policy.column] <= np.median(tested[policy.column]) else "yes")
        assert np.count_nonzero(np.asarray(Image.open(f"second/masks/{row['image']}.png"))) == row["predicted_px"]


def test_each_prediction_draws_anew_and_says_how(certify: Run, command: Command) -> None:
    done(certify(*LOOSE, "-o", "mine.json", "--delta", "0.9"))
    policy = load_certified_policy(Path("mine.json"))
    assert "with confidence 0.1" in policy.statement
    for folder in ("first", "second"):
        found = command("predict", "run", FILMS, "-o", folder, "--policy", "mine.json")
        assert found.code == 0, found.err
        assert policy.statement in found.out
    assert open_cases(Path("first")).policy == policy
    first, second = predictions("first"), predictions("second")
    seeds = [row["noise_seed"] for row in (*first.values(), *second.values())]
    assert len(set(seeds)) == len(seeds)  # nobody who knows the policy and the image foresees them
    for name, row in first.items():
        assert (row["noise"], row["certified_at_most"], row["certified_radius"]) == ("0.25", "0.6", "0.1")
        assert row["pixels"] == second[name]["pixels"]
        assert row["uncertainty"] != second[name]["uncertainty"]
    assert {row["guarantee"] for row in first.values()} == {"not tested"}  # of six images
    far = {"reference_scores": tuple(np.linspace(5, 6, 200)), "images": 200, "patients": 200, "kept": 0.0}
    save_policy(replace(policy, **far), Path("far.json"))  # type: ignore[arg-type]
    found = command("predict", "run", "films/Train Set/Images", "-o", "far", "--policy", "far.json")
    assert found.code == 0, found.err
    assert "differ from those of 200 calibration patients" in found.err
    assert "unless changes within the radius explain it" in found.err
    assert "alarm up to 0.025; chance of a false alarm at most 0.05 if each image is of another patient" in found.err
    assert {row["guarantee"] for row in predictions("far").values()} == {"in doubt"}
    again = ("predict", "run", FILMS, "-o", "third", "--policy", "mine.json", "--noise-seeds")
    done(command(*again, "first/predictions.csv"))
    assert predictions("third") == first
    file = sorted(Path(FILMS).iterdir())[0]
    Image.fromarray(np.asarray(Image.open(file)) // 2).save(file)
    found = command(*again, "first/predictions.csv", "--overwrite")
    assert "has changed since its noise was recorded" in refusal(found)


def test_what_is_refused(certify: Run, command: Command) -> None:
    done(certify(*LOOSE))
    Path("records.parquet").write_bytes(b"")
    predict = ("predict", "run", FILMS, "--policy")
    content = json.loads(Path("run/certified.json").read_text())
    write_text(Path("loud.json"), json.dumps(content | {"noise": 0.5}))
    write_text(Path("edited.json"), json.dumps(content | {"threshold": 99.0}))
    write_text(Path("loud.csv"), "image,noise,noise_seed,pixels\na.png,0.25,1,0\nb.png,0.5,2,0\n")
    policy = load_certified_policy(Path("run/certified.json"))
    save_policy(replace(policy, model="4567"), Path("other.json"))
    save_policy(replace(policy, size=64), Path("large.json"))
    for command_line, words in (
        (("defer", "apply", "run/certified.json", "run"), "decides on noisy images"),
        ((*predict, "loud.json"), "level is"),
        ((*predict, "edited.json"), "threshold 99"),
        ((*predict, "other.json"), "fitted for model 4567"),
        ((*predict, "large.json"), "fitted for size 64, not for 32"),
        ((*predict, "run/certified.json", "--noise-seeds", "loud.json"), "records no noise"),
        ((*predict, "run/certified.json", "--noise-seeds", "none.csv"), "none.csv"),
        (
            (*predict, "run/certified.json", "--noise-seeds", "loud.csv"),
            "noise of deviation 0.5, and the policy has 0.25",
        ),
    ):
        assert words in refusal(command(*command_line))
        assert not Path("predictions").exists()
    write_text(Path("few.csv"), "image,noise,noise_seed,pixels\nother.png,0.25,1,0\n")
    found = command(*predict, "run/certified.json", "--noise-seeds", "few.csv")
    assert "no noise was recorded for" in one_sentence(found)
    done(command("defer", "masks", "run", "--at-most", "0.5"))
    found = command(*predict, "run/certified.json", "--control", "run/control.json")
    assert "a control was fitted on images without" in one_sentence(found)
