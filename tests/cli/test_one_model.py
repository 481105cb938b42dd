"""``evaluate`` and ``predict`` with a model trained on small images, and everything that can be wrong with them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests import fake
from tests.cli.conftest import Command, Outcome, full, one_sentence

from trustseg.models import Segmenter
from trustseg.reporting.results import load_results

pytestmark = pytest.mark.usefixtures("small_and_tidy")


def test_evaluate(command: Command, train: Callable[..., Outcome]) -> None:
    train("-o", "run", "data.fold=1", "data.folds=4")
    found = command("evaluate", "run/model", "training.accelerator=cpu")
    assert found.code == 0
    notes = found.err.splitlines()
    lines = [notes.pop().partition(",")[0] for _ in range(2)]
    assert lines == ["evaluating: 2 of 2", "evaluating: 1 of 2"]
    assert all(note.startswith("note: ") for note in notes)
    assert any("squashed to 32x32" in note for note in notes)
    assert "records: run/evaluation-test/records.parquet" in found.out.splitlines()
    for words in ("condition", "Dice (per image)", "pooled Dice", "clean", "fgsm"):
        assert words in found.out
    records = pl.read_parquet("run/evaluation-test/records.parquet")
    assert records["condition"].unique(maintain_order=True).to_list() == ["clean", "fgsm"]
    images = set(records["image"])
    given = command("evaluate", "run/model", "data.fold=null", "--allow-training-patients", "-o", "given")
    assert given.code == 0
    assert images != set(pl.read_parquet("given/records.parquet")["image"])  # the fold was that of its own run
    found = command("evaluate", "run/model", "data.fold=null")
    assert found.code == 2
    assert "--allow-training-patients" in one_sentence(found)


def test_settings_changed_after_the_run_are_noticed_by_its_report(
    command: Command, train: Callable[..., Outcome]
) -> None:
    train("-o", "run")
    assert command("evaluate", "run", "evaluation.attacks=[]").code == 0
    for file in (Path("run/config.yaml"), Path("run/evaluation-test/config.yaml")):
        before = file.read_text()
        file.write_text(before.replace("learning_rate: 0", "learning_rate: 1"))
        assert file.read_text() != before
        found = command("report", "run", "--no-gallery")
        assert found.code == 2
        assert f"'{file}' was changed" in one_sentence(found)
        file.write_text(before.replace("target: foreground", "target: polyp"))  # a name may change
    load_results(Path("run"))


def test_evaluate_admits_what_it_cannot_tell(command: Command, train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    for file in films.rglob("Test Set/Ground-truths/*.png"):
        fake.save(np.zeros((16, 20), dtype=np.uint8), file)
    segmenter = Segmenter.load("run/model")
    with torch.no_grad():
        segmenter.network[-1].bias.copy_(torch.tensor([-50.0, 50.0]))  # type: ignore[index]  # a Sequential
    segmenter.save("run/model")
    found = command("evaluate", "run/model", "evaluation.attacks=[{name: fgsm, eps: [0]}]")
    assert found.code == 0
    assert found.out.count("—") == 4  # Dice at both sizes, IoU, pooled Dice


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no model folder 'nowhere'"),
        (["run/model", "model.head=bernoulli"], "has a beta head, not a bernoulli head"),
        (["run/model", "--split", "exam"], "unknown split 'exam'"),
        (["run/model", "--split", "control"], "the split 'control' of this dataset is empty"),
        (["run/model", "other.yaml"], "has a beta head, not a bernoulli head"),
        (["bare/model"], "no images given, as 'bare/config.yaml' is not next to the model; set data.path"),
    ],
)
def test_evaluations_that_cannot_be(
    command: Command, train: Callable[..., Outcome], films: Path, arguments: list[str], words: str
) -> None:
    train("-o", "run")
    shutil.copytree("run/model", "bare/model")
    Path("other.yaml").write_text(f"model: {{head: bernoulli}}\ndata: {{path: '{films}'}}\n")
    found = command("evaluate", *arguments)
    assert found.code == 2
    assert words in one_sentence(found)


def test_a_spoilt_model(command: Command, train: Callable[..., Outcome]) -> None:
    train("-o", "run")
    Path("run/model/model.safetensors").write_bytes(b"not weights")
    for verb in (["evaluate", "run/model"], ["predict", "run/model", "."]):
        found = command(*verb)
        assert found.code == 2
        assert "model.safetensors" in one_sentence(found)


def test_predict(command: Command, train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    images = next(films.rglob("Test Set/Images"))
    found = command("predict", "run/model", images, "--measure", "vacuity", "-o", "out")
    assert found[:2] == (0, "masks and uncertainty maps: out\nscores: out/predictions.csv\n")
    assert "squashed to 32x32" in found.err
    assert "\npredicting: 2 of 2, " in found.err
    table = pl.read_csv("out/predictions.csv")
    assert table["uncertainty"].is_sorted(descending=True)
    for name in table["image"]:
        for kind in ("masks", "uncertainty"):
            with Image.open(f"out/{kind}/{Path(name).stem}.png") as picture:
                assert picture.size == (20, 16)
    assert command("predict", "run/model", next(images.iterdir())).out.endswith("scores: predictions/predictions.csv\n")


def test_predictions_are_not_overwritten_by_accident(
    command: Command, train: Callable[..., Outcome], films: Path
) -> None:
    train("-o", "run")
    images = next(films.rglob("Test Set/Images"))
    first = min(images.iterdir())
    assert command("predict", "run/model", images, "-o", "out").code == 0
    mine = Path("out/masks/mine.png")
    mine.write_text("not named in the table")
    before = Path("out/predictions.csv").read_text()
    found = command("predict", "run/model", first, "-o", "out")
    assert found.code == 2
    assert "'out' is not empty; give another --output, or --overwrite" in one_sentence(found)
    assert Path("out/predictions.csv").read_text() == before
    assert command("predict", "run/model", first, "-o", "out", "--overwrite").code == 0
    assert pl.read_csv("out/predictions.csv")["image"].to_list() == [first.name]
    assert {path.name for path in Path("out/masks").iterdir()} == {f"{first.stem}.png", "mine.png"}
    assert {path.name for path in Path("out/uncertainty").iterdir()} == {f"{first.stem}.png"}


def test_the_folder_of_a_run_stands_for_its_model(command: Command, train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    assert command("predict", "run", next(films.rglob("Test Set/Images"))).code == 0
    found = command("evaluate", "run", "evaluation.attacks=[]", "--ensemble", "run")
    assert "records: run/evaluation-test-ensemble2/records.parquet" in found.out.splitlines()


def test_predict_finds_the_folder_that_was_meant(command: Command, train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    assert command("predict", "run/model", fake.train_set(films.parent)).code == 0
    assert set(pl.read_csv("predictions/predictions.csv")["image"]) == {f"{name}.png" for name in fake.TRAIN}
    assert command("predict", "run/model", films, "-o", "out").code == 0
    assert set(pl.read_csv("out/predictions.csv")["image"]) == {f"{name}.png" for name in fake.TRAIN + fake.TEST}


def test_a_full_folder_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    code = (
        "import sys\nfrom trustseg.cli import main\n"
        f"sys.argv = ['trustseg', 'predict', 'nowhere', 'nowhere', '-o', {str(tmp_path / 'full')!r}]\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "is not empty" in found.stderr
    assert found.stdout == "False\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run/model", "nowhere"], "no image or folder 'nowhere'"),
        (["run/model", "empty"], "empty"),
        (["run/model", "broken.png"], "broken.png"),
        (["run/model", "fine.png", "--measure", "vacuum"], "did you mean 'vacuity'?"),
        (["run/model", "fine.png", "--aggregation", "median"], "unknown aggregation 'median'"),
        (["run/model", "fine.png", "--aggregation", "morans_i"], "pattern of a map and not its level"),
        (["run/model", "fine.png", "--measure", "vacuity"], "head has no measure 'vacuity'"),
        (["nowhere", "fine.png"], "no model folder 'nowhere'"),
        (["run/model", "fine.png", "-o", "fine.png"], "fine.png"),
    ],
)
def test_predictions_that_cannot_be(
    command: Command, train: Callable[..., Outcome], arguments: list[str], words: str
) -> None:
    train("-o", "run", "model.head=bernoulli")
    fake.save(fake.image("fine"), Path("fine.png"))
    Path("broken.png").write_bytes(Path("fine.png").read_bytes()[:50])
    Path("empty").mkdir()
    found = command("predict", *arguments)
    assert found.code == 2
    assert words in one_sentence(found)


def test_pgd_is_shown_with_its_steps() -> None:
    from trustseg.cli.evaluate import _with_steps

    names = ["clean", "fgsm", "r_fgsm", "pgd", "pgd_l2_x2", "pgd100_margin"]
    assert [*map(_with_steps, names)] == ["clean", "fgsm", "r_fgsm", "pgd20", "pgd20_l2_x2", "pgd100_margin"]


def test_a_full_disk_while_predicting(
    command: Command, train: Callable[..., Outcome], films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("-o", "run")
    full(monkeypatch, "predictions.csv")
    found = command("predict", "run/model", next(films.rglob("Test Set/Images")), "-o", "out")
    assert found.code == 2
    assert "the disk is full at 'out/predictions.csv'" in one_sentence(found)
    assert not Path("out/predictions.csv").exists()
