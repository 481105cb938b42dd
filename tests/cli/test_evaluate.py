"""``trustseg evaluate``: on whom it may measure, and where it writes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests import fake
from tests.cli.conftest import Command, Outcome, changed, one_sentence
from tests.training.tiny import use_tiny_networks

from trustseg.cli.evaluate import _print_means
from trustseg.config import load_run
from trustseg.data import open_dataset, split_cases, write_phantoms
from trustseg.data.seen import write_splits
from trustseg.evaluation import Surrogate
from trustseg.files import read_json, write_text
from trustseg.models import build_segmenter

Evaluate = Callable[..., Outcome]

SETTINGS = ["data.size=32", "evaluation.attacks=[{name: fgsm, eps: [4/255]}]", "training.accelerator=cpu"]


@pytest.fixture
def evaluate(command: Command, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Run ``trustseg evaluate`` on a model of fold 1 of some phantoms, both in the current folder."""
    use_tiny_networks(monkeypatch)
    for name, seed in (("films", 0), ("others", 1)):
        write_phantoms(name, train=8, test=4, control=0, size=32, seed=seed)
    pack = open_dataset("films", size=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build_segmenter(architecture="unet", encoder="resnet18", head="beta", size=32).save("run/model")
    write_splits(Path("run/model"), pack, split_cases(pack.index, fold=1))
    write_text(Path("run/config.yaml"), "data: {path: films, size: 32, fold: 1}\n")

    def run(*arguments: str) -> Outcome:
        return command("evaluate", "run/model", *changed(SETTINGS, arguments))

    return run


def test_other_populations_have_scores_and_no_dice(evaluate: Evaluate) -> None:
    Path("elsewhere").mkdir()
    shutil.copy(next(Path("films/Test Set/Images").iterdir()), "elsewhere/scan.png")
    found = evaluate("evaluation.attacks=[]", "evaluation.populations={elsewhere: elsewhere}")
    assert found.code == 0
    (line,) = (line for line in found.out.splitlines() if "elsewhere" in line and "records:" not in line)
    assert line.split()[:3] == ["elsewhere", "0", "1"]
    assert line.count("—") == 5


def test_every_split_has_a_folder_of_its_own(evaluate: Evaluate) -> None:
    for split in ("test", "validation"):  # the validation split is there to fit policies on
        found = evaluate("--split", split)
        assert found.code == 0
        assert f"records: run/evaluation-{split}/records.parquet" in found.out.splitlines()
        folder = Path(f"run/evaluation-{split}")
        assert pl.read_parquet(folder / "records.parquet")["split"].unique().to_list() == [split]
        assert load_run(folder / "config.yaml").data.fold == 1
        assert read_json(folder / "provenance.json").keys() >= {"trustseg", "data", "command"}


def test_example_images_are_kept_for_the_report_unless_they_must_not_be(evaluate: Evaluate) -> None:
    assert evaluate().code == 0
    with np.load("run/evaluation-test/gallery.npz") as kept:
        assert kept["name"].shape == (4,)
        assert str(kept["condition"]) == "fgsm"
    assert evaluate("evaluation.gallery=0", "-o", "bare").code == 0
    assert Path("bare/records.parquet").exists()
    assert not Path("bare/gallery.npz").exists()


@pytest.mark.parametrize("arguments", [["data.fold=null"], ["--split", "train"], ["--split", "all"]])
def test_patients_it_has_seen_are_refused_unless_that_is_meant(evaluate: Evaluate, arguments: list[str]) -> None:
    found = evaluate(*arguments)
    assert found.code == 2
    assert "--allow-training-patients" in one_sentence(found)
    assert not list(Path("run").glob("evaluation*"))
    assert evaluate(*arguments, "--allow-training-patients").code == 0


def test_other_data_does_not_overwrite_its_own(evaluate: Evaluate) -> None:
    found = evaluate("data.path=others", "data.fold=null", "--allow-training-patients")
    assert found.code == 0
    assert "records: run/evaluation-test-others/records.parquet" in found.out.splitlines()


@pytest.mark.parametrize(
    ("sides", "arguments", "used"),
    [
        (("test",), [], 5),  # whole, not a fifth of it
        (("train",), [], 5),
        (("train", "test"), [], 5),
        (("train", "test"), ["--split", "all"], 10),
        (("train", "test"), ["data.fold=null"], 5),
        (("train",), ["data.fold=0"], 1),  # as asked for
    ],
)
def test_the_fold_of_the_training_does_not_divide_other_data(
    evaluate: Evaluate, sides: tuple[str, ...], arguments: list[str], used: int
) -> None:
    for side in sides:
        fake.pairs(Path("new") / side, [f"sub-{side}{n}_1" for n in range(5)], images="images", masks="masks")
    found = evaluate("data.path=new", "evaluation.attacks=[]", *arguments, "-o", "found")
    assert found.code == 0, found.err
    assert len(pl.read_parquet("found/records.parquet")) == used
    assert (f"{used} of {5 * len(sides)} images are used" in found.err) is (arguments != ["data.fold=0"])
    assert "near-copies cannot be found" not in found.err


def test_data_that_were_moved_keep_their_fold(evaluate: Evaluate) -> None:
    Path("films").rename("moved")
    assert evaluate("data.path=moved", "evaluation.attacks=[]").code == 0
    assert load_run(Path("run/evaluation-test/config.yaml")).data.fold == 1


@pytest.mark.parametrize("at_hand", [True, False])
def test_near_copies_of_training_images_are_refused_or_said_not_to_be_looked_for(
    evaluate: Evaluate, tmp_path: Path, at_hand: bool
) -> None:
    for kind in ("Images", "Ground-truths"):
        folder = Path("again/test") / {"Images": "images", "Ground-truths": "masks"}[kind]
        folder.mkdir(parents=True)
        for number, file in enumerate(sorted(Path("films/Train Set", kind).iterdir())):
            Image.open(file).resize((96, 96)).save(folder / f"{number}.png")
    if not at_hand:
        Path("films").rename(tmp_path / "gone")
    found = evaluate(
        "data.path=again", "data.mask_values={lesion: 128-255, background: 0-127}", "evaluation.attacks=[]"
    )
    assert found.code == (2 if at_hand else 0), found.err
    assert ("near-copies cannot be found" in found.err) is not at_hand
    assert "near-copies" in found.err


def test_other_settings_do_not_overwrite(evaluate: Evaluate) -> None:
    assert evaluate().code == 0
    found = evaluate("evaluation.measures=[entropy]")
    assert found.code == 2
    assert "'run/evaluation-test' holds a run with other settings" in one_sentence(found)
    assert evaluate("evaluation.measures=[entropy]", "-o", "given").code == 0
    assert "u_vacuity_mean" in pl.read_parquet("run/evaluation-test/records.parquet").columns


def test_a_model_that_does_not_say_whom_it_has_seen(evaluate: Evaluate) -> None:
    Path("run/model/splits.json").unlink()
    found = evaluate("--split", "all")
    assert found.code == 0
    assert "no splits.json in 'run/model': cannot check" in found.err
    assert "records: run/evaluation-all-films/records.parquet" in found.out.splitlines()


# --- mixtures, policies, masking checks ------------------------------------------------------------------------------


def second_model() -> None:
    """Write a model of another seed beside the first, of the same fold."""
    pack = open_dataset("films", size=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        build_segmenter(architecture="unet", encoder="resnet18", head="beta", size=32).save("second/model")
    write_splits(Path("second/model"), pack, split_cases(pack.index, fold=1))


@pytest.mark.parametrize(
    ("arguments", "suffix", "passes"),
    [
        (["--ensemble", "second/model"], "-ensemble2", 2),
        (["--mc-dropout", "3"], "-mc3", 3),
    ],
)
def test_mixtures_are_measured_and_say_what_they_cost(
    evaluate: Evaluate, arguments: list[str], suffix: str, passes: int
) -> None:
    second_model()
    found = evaluate(*arguments)
    assert found.code == 0
    assert f"records: run/evaluation-test{suffix}/records.parquet" in found.out.splitlines()
    folder = Path(f"run/evaluation-test{suffix}")
    records = pl.read_parquet(folder / "records.parquet")
    assert records["variant"].unique().to_list() == [f"run{suffix}"]
    assert records["u_epistemic_variance_mean"].min() > 0  # type: ignore[operator]  # a number
    assert records["u_vacuity_mean"].null_count() == records.height  # a mixture has none
    cost = read_json(folder / "evaluation.json")
    assert cost["passes"] == passes
    assert 0 < float(str(cost["seconds_per_image"])) < 60
    assert cost["timed_batch_size"] == records.filter(pl.col("condition") == "clean").height


def test_the_members_of_an_ensemble_are_asked_whom_they_have_seen(evaluate: Evaluate) -> None:
    second_model()
    pack = open_dataset("films", size=32)
    write_splits(Path("second/model"), pack, split_cases(pack.index, fold=2))
    found = evaluate("--ensemble", "second/model")
    assert found.code == 2
    assert "the model was trained or validated on" in one_sentence(found)


def test_a_policy_is_fitted_where_the_model_was_validated(evaluate: Evaluate) -> None:
    attacks = "evaluation.attacks=[{name: deferral_aware, eps: [4/255], steps: 1}]"
    assert evaluate(attacks).code == 0
    pack = open_dataset("films", size=32)
    expected = pack.index["name"].gather(split_cases(pack.index, fold=1).validation.tolist()).to_list()
    assert pl.read_parquet("run/evaluation-test/validation.parquet")["image"].to_list() == expected
    assert read_json(Path("run/evaluation-test/policy.json"))["images"] == len(expected)
    found = evaluate(attacks, "data.path=others", "data.fold=null", "--allow-training-patients")
    assert found.code == 2
    assert "needs a deferral policy" in one_sentence(found)


def test_masking_checks_are_written_if_asked_for(evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str | None]] = []

    def note(*arguments: object, count: int, surrogate: Surrogate | None, **options: object) -> None:
        asked.append((count, None if surrogate is None else surrogate.name))

    monkeypatch.setattr("trustseg.evaluation.write_masking_checks", note)
    assert evaluate("evaluation.masking_checks=2").code == 0
    second_model()
    found = evaluate("evaluation.masking_checks=2", "evaluation.surrogate=second/model", "--output", "other")
    assert found.code == 0
    assert asked == [(2, None), (2, "second")]


def test_a_surrogate_that_is_not_there_is_said_before_anything_is_measured(evaluate: Evaluate) -> None:
    found = evaluate("evaluation.masking_checks=2", "evaluation.surrogate=nowhere")
    assert found.code == 2
    assert "no model folder" in one_sentence(found)
    assert not Path("run/evaluation-test").exists()


def test_the_smallest_budgets_are_written_if_asked_for(evaluate: Evaluate) -> None:
    options = ["tau=0.5", "eps=[1/255, 2/255]", "steps=1", "halvings=0"]
    found = evaluate(*(f"evaluation.minimal.{option}" for option in options))
    assert found.code == 0
    table = pl.read_parquet("run/evaluation-test/minimal.parquet")
    assert len(table) == pl.read_parquet("run/evaluation-test/records.parquet")["image"].n_unique()
    assert table["tau"].unique().to_list() == [0.5]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dropout", "0.2"], "needs --mc-dropout"),
        (["--mc-dropout", "2", "--dropout", "1.5"], "a dropout rate must lie between 0 and 1"),
        (["--mc-dropout", "2", "--dropout", "0.2"], "has no segmentation_head to place dropout before"),
        (["--mc-dropout", "0"], "greater than or equal to 1"),
        (["--ensemble", "nowhere"], "no model folder 'nowhere'"),
        (["--ensemble", "run/model", "--mc-dropout", "2"], "cannot be combined"),
    ],
)
def test_mixtures_that_cannot_be(evaluate: Evaluate, arguments: list[str], words: str) -> None:
    found = evaluate(*arguments)
    assert found.code == 2
    assert words in one_sentence(found)


def test_no_dice_is_printed_of_images_without_lesion_or_without_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        **{"image": ["a", "b", "c"], "patient": ["a", "b", "c"], "condition": "clean", "kind": "clean"},
        **{"eps": 0.0, "severity": 0, "size": 64, "pixels": 100},
        **{"reference": ["mask", "control", "none"], "mask_px": [10, 0, None], "predicted_px": [10, 25, 50]},
        **{"intersection_px": [8, 0, None], "dice": [0.8, None, None], "iou": [0.667, None, None]},
        "dice_native": [0.75, None, None],
    }
    records = pl.DataFrame(rows)
    records.write_parquet(tmp_path / "records.parquet")
    _print_means(tmp_path)
    text = capsys.readouterr().out
    assert [part for part in text.split() if part.startswith("0.")] == ["0.800", "0.750", "0.667", "0.356", "0.250"]
    assert "64 x 64 px" in text
    assert "1 of 3 images have no reference" in text
    records.filter(pl.col("reference") == "control").write_parquet(tmp_path / "records.parquet")
    _print_means(tmp_path)
    assert [part for part in capsys.readouterr().out.split() if part.startswith("0.")] == ["0.250"]
