"""``train``, ``evaluate`` and ``predict`` on small images, and everything that can be wrong with them."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests import fake
from tests.cli.conftest import Command, Outcome, one_sentence
from tests.training.tiny import repeatable_metrics, same_weights

from trustseg.models import Segmenter
from trustseg.study.cell import claimed

QUICK = (
    *("data.size=32", "model.head=beta", "training.epochs=1", "training.batch_size=2", "training.validation_every=1"),
    *("training.validation_steps=1", "training.accelerator=cpu", "adversarial.warmup_epochs=0"),
    "evaluation.attacks=[{name: fgsm, eps: [4/255]}]",
)


pytestmark = pytest.mark.usefixtures("small_and_tidy")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return fake.qata(tmp_path / "films", control=False)


@pytest.fixture
def train(command: Command, films: Path) -> Callable[..., Outcome]:
    """Train on the films with quick settings and some more arguments."""

    def run(*arguments: str | Path) -> Outcome:
        return command("train", f"data.path={films}", *QUICK, *arguments)

    return run


def test_train_and_what_it_says(train: Callable[..., Outcome]) -> None:
    found = train("-o", "run", "training.epochs=2")
    assert found == (0, "model: run/model\n", "epoch 1 of 2\nepoch 2 of 2\n")
    assert train("-o", "run", "training.epochs=2") == (0, "model: run/model\n", "")  # nothing is left to do
    about = json.loads(Path("run/provenance.json").read_text())
    assert about["data"]["layout"] == "qata"
    assert "/" not in about["command"].replace("4/255", "")


def test_the_run_folder_has_the_name_of_the_settings(train: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "gentle.yaml").write_text("training: {learning_rate: 1.0e-5}\n")
    assert train(tmp_path / "gentle.yaml").out == "model: runs/gentle/model\n"
    assert train().out == "model: runs/train/model\n"


def test_a_run_folder_is_for_one_run(train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    found = train("-o", "run", "training.seed=1")
    assert found.code == 2
    assert "holds a run with other settings" in one_sentence(found)
    fake.save(fake.image("new"), fake.train_set(films.parent) / "Images" / "sub-S05_x.png")
    fake.save(fake.mask("new"), fake.train_set(films.parent) / "Ground-truths" / "mask_sub-S05_x.png")
    found = train("-o", "run")
    assert found.code == 2
    assert "not those that the run in 'run' began with" in one_sentence(found)


def test_two_trainings_in_one_folder(train: Callable[..., Outcome]) -> None:
    with claimed(Path("run")):
        found = train("-o", "run")
    assert found.code == 2
    assert "another process trains in 'run'" in one_sentence(found)
    assert not Path("run/config.yaml").exists()


def test_keys(command: Command) -> None:
    found = command("train", "--keys")
    assert found.code == 0
    for words in ("adversarial.eps", "4/255", "training.patience", "null", "L-inf budget in pixel units of [0, 1]"):
        assert words in found.out


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.epoch=3", "did you mean 'training.epochs'?"),
        ("model.head=gaussian", "model.head"),
        ("adversarial.selection=uncertian", "uncertain"),
        ("adversarial.eps=8", "adversarial.eps"),
        ("training.epochs=0", "training.epochs"),
        ("data.path=nowhere", "nowhere"),
        ("model.weights=nowhere.safetensors", "no weights file 'nowhere.safetensors'"),
        ("data.fold=7", "fold 7"),
        ("training.accelerator=abacus", "training.accelerator"),
        ("training.epochs=[", "training.epochs=["),
        ("training.epochs=abc", "got training.epochs=abc; an integer >= 1 was expected; set for example"),
        ("model.head=betta", "did you mean beta?"),
    ],
)
def test_settings_that_do_not_fit(train: Callable[..., Outcome], setting: str, words: str) -> None:
    found = train("-o", "run", setting)
    assert found.code == 2
    assert words in one_sentence(found)
    assert not Path("run/model").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "set data.path=FOLDER"),
        (["nowhere.yaml"], "no configuration file 'nowhere.yaml'"),
        (["a.yaml", "b.yaml"], "got 2 files (a.yaml, b.yaml), at most one was expected"),
    ],
)
def test_arguments_that_do_not_fit(command: Command, arguments: list[str], words: str) -> None:
    found = command("train", *arguments)
    assert found.code == 2
    assert words in one_sentence(found)


def corrupt(films: Path) -> str:
    file = fake.train_set(films.parent) / "Images" / "covid_7.png"
    file.write_bytes(file.read_bytes()[:60])
    return "covid_7.png"


def no_image(films: Path) -> str:
    (fake.train_set(films.parent) / "Images" / "covid_7.png").write_text("I am a text")
    return "covid_7.png"


def other_size(films: Path) -> str:
    fake.save(fake.mask("x", size=(8, 8)), fake.train_set(films.parent) / "Ground-truths" / "mask_covid_7.png")
    return "mask_covid_7.png"


def not_a_number(films: Path) -> str:
    folder = fake.train_set(films.parent) / "Images"
    (folder / "covid_7.png").unlink()
    fake.save(np.full((16, 20), np.nan, dtype=np.float32), folder / "covid_7.tif")
    return "covid_7.tif"


def no_mask(films: Path) -> str:
    (fake.train_set(films.parent) / "Ground-truths" / "mask_covid_7.png").unlink()
    return "covid_7"


def empty(films: Path) -> str:
    shutil.rmtree(films)
    films.mkdir()
    return films.name


def one_film(films: Path) -> str:
    shutil.rmtree(films)
    fake.two_folders(films, ["only"])
    return "expected"


@pytest.mark.parametrize("spoil", [corrupt, no_image, other_size, not_a_number, no_mask, empty, one_film])
def test_images_that_cannot_be_used(train: Callable[..., Outcome], films: Path, spoil: Callable[[Path], str]) -> None:
    words = spoil(films)
    found = train("-o", "run")
    assert found.code == 2
    assert words in one_sentence(found)
    assert not Path("run/model").exists()
    assert not list(Path().rglob("*.partial*"))


def full(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk be full when a file of this name is to be put into its place."""
    replace = os.replace

    def refusing(source: Any, target: Any, **options: Any) -> None:  # noqa: ANN401
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target, **options)

    monkeypatch.setattr(os, "replace", refusing)


@pytest.mark.parametrize("name", ["config.yaml", "last.ckpt", "metrics.csv", "model.safetensors", "model.json"])
def test_a_full_disk_loses_nothing(
    train: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    train("-o", "whole", "training.epochs=2")
    with monkeypatch.context() as patch:
        full(patch, name)
        found = train("-o", "run", "training.epochs=2")
    assert found.code == 2
    assert "the disk is full at '" in one_sentence(found)
    assert not Path("run/model/model.json").exists()
    assert train("-o", "run", "training.epochs=2").code == 0
    assert same_weights(Segmenter.load("whole/model"), Segmenter.load("run/model"))
    assert repeatable_metrics(Path("whole")).equals(repeatable_metrics(Path("run")))
    assert not list(Path("run").rglob("*.partial*"))


def test_a_loss_that_is_not_finite_is_a_failed_run(train: Callable[..., Outcome]) -> None:
    found = train("-o", "run", "training.learning_rate=1e38", "adversarial.selection=none", "training.epochs=3")
    assert found.code == 1
    assert "lower training.learning_rate" in one_sentence(found)


def test_evaluate(command: Command, train: Callable[..., Outcome]) -> None:
    train("-o", "run", "data.fold=1", "data.folds=4")
    found = command("evaluate", "run/model", "training.accelerator=cpu")
    assert found.code == 0
    assert found.err == "evaluating: 2 done\n"
    assert found.out.endswith("records: run/evaluation-test/records.parquet\n")
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
    assert found.out.count("undefined") == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no model.json in 'nowhere'"),
        (["run/model", "model.head=bernoulli"], "holds a beta head, a bernoulli head was expected"),
        (["run/model", "--split", "exam"], "unknown split 'exam'"),
        (["run/model", "--split", "control"], "the split 'control' of this dataset is empty"),
        (["run/model", "other.yaml"], "holds a beta head, a bernoulli head was expected"),
        (["bare/model"], "no images are named, as 'bare/config.yaml' is not beside the model; a dataset folder"),
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
    assert found == (0, "masks and uncertainty maps: out\nscores: out/predictions.csv\n", "predicting: 2 done\n")
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
    assert "'out' is not empty, a new folder was expected; give another --output, or --overwrite" in one_sentence(found)
    assert Path("out/predictions.csv").read_text() == before
    assert command("predict", "run/model", first, "-o", "out", "--overwrite").code == 0
    assert pl.read_csv("out/predictions.csv")["image"].to_list() == [first.name]
    assert {path.name for path in Path("out/masks").iterdir()} == {f"{first.stem}.png", "mine.png"}
    assert {path.name for path in Path("out/uncertainty").iterdir()} == {f"{first.stem}.png"}


def test_predict_finds_the_folder_that_was_meant(command: Command, train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    found = command("predict", "run/model", fake.train_set(films.parent))
    assert found.code == 2
    assert f"give '{fake.train_set(films.parent) / 'Images'}'" in one_sentence(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run/model", "nowhere"], "no image or folder 'nowhere'"),
        (["run/model", "."], "no image in '.'"),
        (["run/model", "broken.png"], "broken.png"),
        (["run/model", "fine.png", "--measure", "vacuum"], "did you mean 'vacuity'?"),
        (["run/model", "fine.png", "--aggregation", "median"], "unknown aggregation 'median'"),
        (["run/model", "fine.png", "--measure", "vacuity"], "head has no 'vacuity'"),
        (["nowhere", "fine.png"], "no model.json in 'nowhere'"),
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
    found = command("predict", *(argument if argument != "." else "empty" for argument in arguments))
    assert found.code == 2
    assert words.replace("'.'", "'empty'") in one_sentence(found)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.encoder=resnet19", "did you mean 'resnet18'?"),
        ("model.encoder=mit_b0", "model.accept_noncommercial=true"),
        ("model.weights=nowhere.safetensors", "no weights file 'nowhere.safetensors'"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_before_anything_is_written(
    command: Command, films: Path, setting: str, words: str
) -> None:
    Path("grid.yaml").write_text(f"data: {{path: '{films}', size: 32}}\ngrid: {{model.head: [beta]}}\n")
    fpn = "model.architecture=fpn"  # not the one that is replaced by a tiny network
    for verb in (["train", f"data.path={films}", "-o", "run"], ["study", "grid.yaml", "-o", "run"]):
        found = command(*verb, fpn, setting)
        assert found.code == 2
        assert words in one_sentence(found)
        assert not Path("run").exists()
        assert not Path("../cache").exists()


def test_images_that_cannot_be_split_are_named(command: Command, tmp_path: Path) -> None:
    only = fake.two_folders(tmp_path / "only", ["only"])
    Path("grid.yaml").write_text("grid: {model.head: [beta]}\n")
    for verb in (["train"], ["study", "grid.yaml"]):
        found = command(*verb, f"data.path={only}", "data.size=32", "-o", "run")
        assert found.code == 2
        assert f"'{only}' holds 1 image, at least 3 of as many patients were expected" in one_sentence(found)
        assert not Path("run").exists()


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
