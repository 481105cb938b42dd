import json
import shlex
from pathlib import Path

import pytest
from tests import fake
from typer.testing import CliRunner, Result

from trustseg.cli.data import app
from trustseg.config import load_run, open_images
from trustseg.data import Pack, split_cases
from trustseg.errors import DataError, MissingFileError


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_check_shows_counts_and_findings(tmp_path: Path) -> None:
    result = run("check", fake.qata(tmp_path))
    assert result.exit_code == 0
    assert "QaTa-COV19 (qata layout)" in result.stdout
    assert "sizes: 7 of 20x16, 2 of 30x30" in result.stdout
    assert "warning: lateral views by name (vp-ll): 1 (" in result.stdout
    assert result.stdout.endswith(f"no errors\nnext: trustseg train data.path={tmp_path / 'QaTa-COV19'}\n")
    assert result.stderr.startswith("checking: 9 of 9, ")  # one line, not one every tenth
    assert [line.split("│")[6].strip() for line in result.stdout.splitlines() if "control" in line] == ["—"]
    assert "\r" not in result.output


@pytest.mark.parametrize(("count", "folds"), [(3, ["data.folds=3"]), (6, [])])
def test_check_names_the_command_that_trains_without_a_test_side(tmp_path: Path, count: int, folds: list[str]) -> None:
    root = fake.two_folders(tmp_path / "my films", [f"sub-{number}_1" for number in range(count)])
    result = run("check", root, "--size", "32", "--masks", "masks")
    *_, last = result.stdout.splitlines()
    words = shlex.split(last.removeprefix("next: trustseg train "))
    assert words == [f"data.path={root}", "data.fold=0", *folds, "data.masks=masks", "data.size=32"]
    config = load_run(None, words).data
    splits = split_cases(open_images(config).index, fold=config.fold, folds=config.folds)
    assert all(len(rows) for rows in (splits.train, splits.validation, splits.test))


def test_check_exits_with_2_on_an_error(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path / "two")
    (root / "masks" / "covid_7.png").unlink()
    for folder, words in (
        (root, "error: images without a mask: 1 ("),
        (fake.two_folders(tmp_path / "one", ["only"]), "error: the images with masks are of 1 patient"),
    ):
        result = run("check", folder)
        assert result.exit_code == 2
        assert words in result.stdout


def test_check_as_json(tmp_path: Path) -> None:
    result = run("check", fake.qata(tmp_path), "--json")
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert report["images"] == {"train": 5, "test": 2, "control": 2}
    assert {"severity", "kind", "message", "names"} == set(report["findings"][0])
    (fake.train_set(tmp_path) / "Images" / "covid_7.png").write_bytes(b"")
    result = run("check", tmp_path, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["findings"][0]["kind"] == "unreadable"


def test_check_prints_names_with_brackets_as_they_are(tmp_path: Path) -> None:
    assert "([red]a)" in run("check", fake.two_folders(tmp_path, ["[red]a"])).stdout


def test_pack(tmp_path: Path) -> None:
    result = run("pack", fake.qata(tmp_path / "data"), tmp_path / "pack", "--size", "8", "--channels", "3")
    assert result.exit_code == 0
    assert "9 images of 8x8 pixels in" in result.stdout
    assert "note: Control_Group_II is left out" in result.stderr
    assert Pack.open(tmp_path / "pack").images.shape == (9, 3, 8, 8)


def test_phantoms_are_a_dataset_without_errors(tmp_path: Path) -> None:
    counts = ("--train", "6", "--test", "4", "--control", "2")
    result = run("phantoms", tmp_path / "made", *counts, "--size", "32", "--jobs", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("12 phantoms of 32x32 pixels in")
    assert "drawing: 12 of 12" in result.stderr
    report = json.loads(run("check", tmp_path / "made", "--json").stdout)
    assert report["ok"] is True
    assert report["images"] == {"train": 6, "test": 4, "control": 2}
    assert report["unknown_patients"] == {}


def test_bad_calls_raise_our_errors(tmp_path: Path) -> None:
    assert isinstance(run("check", tmp_path).exception, DataError)
    assert isinstance(run("check", tmp_path / "nowhere").exception, MissingFileError)
    assert run("pack", tmp_path, tmp_path / "pack", "--size", "0").exit_code == 2


def test_a_manifest_is_written_corrected_and_packed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for folder in ("masks", "lungs"):
        fake.pairs(root, ["20240115_001", "20240115_002", "x"], images="images", masks=folder)
    assert "Say which folder does: data.masks=" in run("check", root).stdout.replace("\n", " ")
    assert isinstance(run("pack", root, tmp_path / "none").exception, DataError)
    table = root / "manifest.csv"
    result = run("manifest", root, "-o", table, "--masks", "masks")
    assert result.exit_code == 0
    assert "3 images in" in result.stdout
    assert "(lungs/: 3)" in result.stdout
    lines = table.read_text().splitlines()
    assert lines[1] == "images/20240115_001.png,masks/20240115_001.png,,train"
    corrected = [lines[0] + ",sex", lines[1].replace(",,", ",P1,") + ",f", lines[2] + ",m", lines[3] + ","]
    table.write_text("\n".join(corrected) + "\n")
    assert run("pack", root, tmp_path / "pack", "--size", "8").exit_code == 0
    index = Pack.open(tmp_path / "pack").index
    assert index["patient"].to_list() == ["P1", "20240115_002", "x"]
    assert index["group_sex"].to_list() == ["f", "m", ""]
    assert isinstance(run("manifest", root, "-o", table).exception, DataError)


def test_folders_are_declared_on_the_command_line(tmp_path: Path) -> None:
    fake.pairs(tmp_path, ["a", "b", "c"], images="COVID/images", masks="COVID/masks", affix=("", "_left"))
    fake.pairs(tmp_path, ["a"], images="COVID/images", masks="COVID/masks", affix=("", "_right"))
    fake.save(fake.image("n"), tmp_path / "Normal" / "images" / "n.png")
    assert run("check", tmp_path).exit_code == 2
    result = run("check", tmp_path, "--controls", "Normal", "--unite-masks", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["images"] == {"train": 3, "control": 1}
