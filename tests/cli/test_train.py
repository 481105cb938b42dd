"""``train`` on small images, and everything that can be wrong with them and with its settings."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests import fake
from tests.cli.conftest import Command, Outcome, full, one_sentence
from tests.training.tiny import repeatable_metrics, same_weights

from trustseg.models import Segmenter
from trustseg.study.cell import claimed

pytestmark = pytest.mark.usefixtures("small_and_tidy")


def test_train_and_what_it_says(train: Callable[..., Outcome]) -> None:
    found = train("-o", "run", "training.epochs=2")
    assert found.code == 0
    assert re.fullmatch(r"kept: epoch [12] of 2, .* \d\.\d{3}\nmodel: run/model\nnext: .*\n", found.out)
    first, last = found.err.splitlines()[-2:]
    assert re.fullmatch(r"epoch: 1 of 2, about \S+ \w+ left", first)
    assert re.fullmatch(r"epoch: 2 of 2, \S+ \w+", last)
    again = train("-o", "run", "training.epochs=2")
    assert (again.code, again.out) == (0, found.out)
    assert "epoch" not in again.err  # nothing is left to do
    about = json.loads(Path("run/provenance.json").read_text())
    assert about["data"]["layout"] == "qata"
    assert "/" not in about["command"].replace("4/255", "")


def test_the_run_folder_has_the_name_of_the_settings(train: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "gentle.yaml").write_text("training: {learning_rate: 1.0e-5}\n")
    assert "model: runs/gentle/model" in train(tmp_path / "gentle.yaml").out.splitlines()
    assert "model: runs/train/model" in train().out.splitlines()


def test_a_validation_without_foreground_is_told_before(train: Callable[..., Outcome], films: Path) -> None:
    for file in (fake.train_set(films.parent) / "Ground-truths").iterdir():
        fake.save(np.zeros_like(fake.mask("any")), file)
    found = train("-o", "run", "training.epochs=1", "training.patience=1")
    *before, last = found.err.splitlines()
    assert any("validation" in line for line in before)
    assert "no training image has foreground" in found.err
    assert last.startswith("epoch: 1 of 1")
    assert json.loads(Path("run/model/epoch.json").read_text())["chosen_by"] == "last"


def test_a_run_folder_is_for_one_run(train: Callable[..., Outcome], films: Path) -> None:
    train("-o", "run")
    found = train("-o", "run", "training.seed=1")
    assert found.code == 2
    assert "holds a run with other settings" in one_sentence(found)
    fake.save(fake.image("new"), fake.train_set(films.parent) / "Images" / "sub-S05_x.png")
    fake.save(fake.mask("new"), fake.train_set(films.parent) / "Ground-truths" / "mask_sub-S05_x.png")
    found = train("-o", "run")
    assert found.code == 2
    assert "have changed since the run in 'run' was started" in one_sentence(found)


def test_two_trainings_in_one_folder(train: Callable[..., Outcome]) -> None:
    with claimed(Path("run")):
        found = train("-o", "run")
    assert found.code == 2
    assert "another process is training in 'run'" in one_sentence(found)
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
        ("training.epochs=abc", "training.epochs=abc: expected integer >= 1"),
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
        ([], "set data.path"),
        (["nowhere.yaml"], "no YAML file 'nowhere.yaml'"),
        (["a.yaml", "b.yaml"], "got 2 files (a.yaml, b.yaml)"),
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
    return "need at least 3"


@pytest.mark.parametrize("spoil", [corrupt, no_image, other_size, not_a_number, no_mask, empty, one_film])
def test_images_that_cannot_be_used(train: Callable[..., Outcome], films: Path, spoil: Callable[[Path], str]) -> None:
    words = spoil(films)
    found = train("-o", "run")
    assert found.code == 2
    assert words in one_sentence(found)
    assert not Path("run/model").exists()
    assert not list(Path().rglob("*.partial*"))


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


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.encoder=resnet19", "did you mean 'resnet18'"),
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
        assert f"'{only}' holds 1 image; training, validation and test need at least 3" in one_sentence(found)
        assert not Path("run").exists()


def test_lesions_that_all_vanish_are_refused_before_anything_is_written(command: Command, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    lost = fake.two_folders(tmp_path / "lost", names)
    speck = np.zeros((64, 64), np.uint8)
    speck[20, 20] = 255
    for name in names:
        fake.save(fake.image(name, size=(64, 64)), lost / "images" / f"{name}.png")
        fake.save(speck, lost / "masks" / f"{name}.png")
    Path("grid.yaml").write_text("grid: {model.head: [beta]}\n")
    for verb in (["train"], ["study", "grid.yaml"]):
        found = command(*verb, f"data.path={lost}", "data.size=32", "data.fold=0", "-o", "run")
        assert found.code == 2
        assert "vanish at 32x32" in found.err.splitlines()[-1]
        assert not Path("run").exists()
