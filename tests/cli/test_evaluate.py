"""``trustseg evaluate``: on whom it may measure, what it measures, and where it writes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests import fake
from tests.cli.conftest import Command, Outcome, Run, changed, done, refusal, write_model
from tests.training.tiny import use_tiny_networks

from trustseg.cli.evaluate import _print_means
from trustseg.config import load_run
from trustseg.data import open_dataset, split_cases
from trustseg.evaluation import Surrogate
from trustseg.files import read_json
from trustseg.reporting.results import load_results

SETTINGS = ["evaluation.attacks=[{name: fgsm, eps: [4/255]}]", "training.accelerator=cpu"]
CLEAN = "evaluation.attacks=[]"


@pytest.fixture
def evaluate(command: Command, monkeypatch: pytest.MonkeyPatch, drawn: Callable[..., None]) -> Run:
    """Run ``trustseg evaluate`` on a model of fold 1 of some phantoms, both in the current folder."""
    use_tiny_networks(monkeypatch)
    for name, seed in (("films", 0), ("others", 1)):
        drawn(name, train=8, test=4, control=0, seed=seed)
    write_model("run", fold=1)

    def run(*arguments: str) -> Outcome:
        return command("evaluate", "run", *changed(SETTINGS, arguments))

    return run


def test_every_split_has_a_folder_of_its_own(evaluate: Run) -> None:
    for split in ("test", "validation"):  # the validation split is there to fit policies on
        found = evaluate("--split", split)
        assert f"records: run/evaluation-{split}/records.parquet" in done(found).splitlines()
        folder = Path(f"run/evaluation-{split}")
        records = pl.read_parquet(folder / "records.parquet")
        assert records["split"].unique().to_list() == [split]
        assert records["condition"].unique(maintain_order=True).to_list() == ["clean", "fgsm"]
        assert load_run(folder / "config.yaml").data.fold == 1
        assert read_json(folder / "provenance.json").keys() >= {"trustseg", "data", "command"}
        lines = [line.partition(",")[0] for line in found.err.splitlines()[-2:]]
        assert lines == ["evaluating: 1 of 2", "evaluating: 2 of 2"]


def test_other_populations_have_scores_and_no_dice(evaluate: Run) -> None:
    Path("elsewhere").mkdir()
    shutil.copy(next(Path("films/Test Set/Images").iterdir()), "elsewhere/scan.png")
    found = evaluate(CLEAN, "evaluation.populations={elsewhere: elsewhere}")
    (line,) = (line for line in done(found).splitlines() if "elsewhere" in line and "records:" not in line)
    assert line.split()[:3] == ["elsewhere", "0", "1"]
    assert line.count("—") == 5


def test_example_images_are_kept_for_the_report_unless_they_must_not_be(evaluate: Run) -> None:
    done(evaluate())
    with np.load("run/evaluation-test/gallery.npz") as kept:
        assert kept["name"].shape == (4,)
        assert str(kept["condition"]) == "fgsm"
    done(evaluate("evaluation.gallery=0", "-o", "bare"))
    assert Path("bare/records.parquet").exists()
    assert not Path("bare/gallery.npz").exists()
    assert "'run/evaluation-test' holds a run with other settings" in refusal(evaluate("evaluation.measures=[entropy]"))


def test_patients_it_has_seen_are_measured_if_that_is_meant(evaluate: Run) -> None:
    assert "--allow-training-patients" in refusal(evaluate("--split", "all"))
    done(evaluate("--split", "all", "--allow-training-patients"))
    found = evaluate("data.path=others", "data.fold=null", "--allow-training-patients")
    assert "records: run/evaluation-test-others/records.parquet" in done(found).splitlines()
    Path("run/model/splits.json").unlink()
    found = evaluate("--split", "all")
    assert "records: run/evaluation-all-films/records.parquet" in done(found).splitlines()
    assert "no splits.json in 'run/model': cannot check" in found.err


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
    evaluate: Run, sides: tuple[str, ...], arguments: list[str], used: int
) -> None:
    for side in sides:
        fake.pairs(Path("new") / side, [f"sub-{side}{n}_1" for n in range(5)], images="images", masks="masks")
    found = evaluate("data.path=new", CLEAN, *arguments, "-o", "found")
    assert found.code == 0, found.err
    assert len(pl.read_parquet("found/records.parquet")) == used
    assert (f"{used} of {5 * len(sides)} images are used" in found.err) is (arguments != ["data.fold=0"])
    assert "near-copies cannot be found" not in found.err


def test_data_that_were_moved_keep_their_fold(evaluate: Run) -> None:
    Path("films").rename("moved")
    done(evaluate("data.path=moved", CLEAN))
    assert load_run(Path("run/evaluation-test/config.yaml")).data.fold == 1


@pytest.mark.parametrize("at_hand", [True, False])
def test_near_copies_of_training_images_are_refused_or_said_not_to_be_looked_for(
    evaluate: Run, tmp_path: Path, at_hand: bool
) -> None:
    for kind, name in (("Images", "images"), ("Ground-truths", "masks")):
        folder = Path("again/test") / name
        folder.mkdir(parents=True)
        for number, file in enumerate(sorted(Path("films/Train Set", kind).iterdir())):
            Image.open(file).resize((96, 96)).save(folder / f"{number}.png")
    if not at_hand:
        Path("films").rename(tmp_path / "gone")
    found = evaluate("data.path=again", "data.mask_values={lesion: 128-255, background: 0-127}", CLEAN)
    assert found.code == (2 if at_hand else 0), found.err
    assert ("near-copies cannot be found" in found.err) is not at_hand
    assert "near-copies" in found.err


@pytest.mark.parametrize(
    ("arguments", "suffix", "passes"),
    [(["--ensemble", "second"], "-ensemble2", 2), (["--mc-dropout", "3"], "-mc3", 3)],
)
def test_mixtures_are_measured_and_say_what_they_cost(
    evaluate: Run, arguments: list[str], suffix: str, passes: int
) -> None:
    write_model("second", seed=1, fold=1)
    found = evaluate(*arguments)
    assert f"records: run/evaluation-test{suffix}/records.parquet" in done(found).splitlines()
    folder = Path(f"run/evaluation-test{suffix}")
    records = pl.read_parquet(folder / "records.parquet")
    assert records["variant"].unique().to_list() == [f"run{suffix}"]
    assert records["u_epistemic_variance_mean"].min() > 0  # type: ignore[operator]  # a number
    assert records["u_vacuity_mean"].null_count() == records.height  # a mixture has none
    cost = read_json(folder / "evaluation.json")
    assert cost["passes"] == passes
    assert 0 < float(str(cost["seconds_per_image"])) < 60
    assert cost["timed_batch_size"] == records.filter(pl.col("condition") == "clean").height


def test_the_members_of_an_ensemble_are_asked_whom_they_have_seen(evaluate: Run) -> None:
    write_model("second", seed=1, fold=2)
    assert "the model was trained or validated on" in refusal(evaluate("--ensemble", "second"))


def test_a_policy_is_fitted_where_the_model_was_validated(evaluate: Run) -> None:
    attacks = "evaluation.attacks=[{name: deferral_aware, eps: [4/255], steps: 1}]"
    done(evaluate(attacks))
    pack = open_dataset("films", size=32)
    expected = pack.index["name"].gather(split_cases(pack.index, fold=1).validation.tolist()).to_list()
    assert pl.read_parquet("run/evaluation-test/validation.parquet")["image"].to_list() == expected
    assert read_json(Path("run/evaluation-test/policy.json"))["images"] == len(expected)
    found = evaluate(attacks, "data.path=others", "data.fold=null", "--allow-training-patients")
    assert "needs a deferral policy" in refusal(found)


def test_masking_checks_and_smallest_budgets_are_written_if_asked_for(
    evaluate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str | None]] = []

    def note(*arguments: object, count: int, surrogate: Surrogate | None, **options: object) -> None:
        asked.append((count, None if surrogate is None else surrogate.name))

    monkeypatch.setattr("trustseg.evaluation.write_masking_checks", note)
    write_model("second", seed=1, fold=1)
    done(evaluate("evaluation.masking_checks=2", "evaluation.surrogate=second/model", "-o", "other"))
    options = ["tau=0.5", "eps=[1/255, 2/255]", "steps=1", "halvings=0"]
    done(evaluate("evaluation.masking_checks=2", *(f"evaluation.minimal.{option}" for option in options)))
    assert asked == [(2, "second"), (2, None)]
    table = pl.read_parquet("run/evaluation-test/minimal.parquet")
    assert len(table) == pl.read_parquet("run/evaluation-test/records.parquet")["image"].n_unique()
    assert table["tau"].unique().to_list() == [0.5]


@pytest.mark.usefixtures("small_and_tidy")
def test_settings_changed_after_the_run_are_noticed_by_its_report(command: Command, train: Run) -> None:
    train("-o", "run")
    done(command("evaluate", "run", CLEAN))
    for file in (Path("run/config.yaml"), Path("run/evaluation-test/config.yaml")):
        before = file.read_text()
        file.write_text(before.replace("learning_rate: 0", "learning_rate: 1"))
        assert file.read_text() != before
        assert f"'{file}' was changed" in refusal(command("report", "run", "--no-gallery"))
        file.write_text(before.replace("target: foreground", "target: polyp"))  # a name may change
    load_results(Path("run"))


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
    text = capsys.readouterr().out
    assert [part for part in text.split() if part.startswith("0.")] == ["0.250"]
    assert text.count("—") == 4  # Dice at both sizes, IoU, pooled Dice
