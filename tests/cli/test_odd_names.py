"""Names and environments that nobody would choose: escape sequences, bytes that are no UTF-8, notebooks, ASCII."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import fake
from tests.cli.conftest import Command, one_sentence

from trustseg.models import build_segmenter
from trustseg.tables import read_csv

ODD = (
    "plain.png",
    "=1+1.png",
    "-x.png",
    "\u00fcber \u80ba.png",
    "a\x1b[2Jb.png",
    "line\nbreak.png",
    os.fsdecode(b"caf\xe9.png"),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_segmenter(architecture="unet", encoder="resnet18", depth=3, size=32).save(tmp_path / "model[1] #%")


def images(folder: Path) -> Path:
    for name in ODD:
        fake.save(fake.image("any"), folder / name)
    return folder


def test_predict_takes_every_name(command: Command, model: Path) -> None:
    """Each image gets its mask, the table names them all, no cell is a formula; new predictions replace them."""
    folder = images(Path("images [a] #b"))
    found = command("predict", model, folder, "-o", "out\x1b[2J[*]")
    assert found.code == 0, found.err
    assert "\x1b" not in found.out + found.err
    out = Path("out\x1b[2J[*]")
    assert {file.name for file in (out / "masks").iterdir()} == set(ODD)
    named = set(read_csv(out / "predictions.csv", as_text=True)["image"])
    assert named == {*ODD[:-1], r"caf\xe9.png"}
    assert not any(line.startswith(("=", "-")) for line in (out / "predictions.csv").read_text("utf-8").splitlines())
    (folder / ODD[-1]).unlink()
    (folder / "=1+1.png").unlink()
    assert command("predict", model, folder, "-o", out, "--overwrite").code == 0
    assert {file.name for file in (out / "masks").iterdir()} == set(ODD[1:-1]) - {"=1+1.png"} | {"plain.png"}


def test_errors_show_escapes(command: Command) -> None:
    found = command("predict", "no\x1b[2Jmodel", "\nimages")
    assert found.code == 2
    assert r"no\x1b[2Jmodel" in one_sentence(found)


@pytest.mark.slow
def test_in_a_notebook_on_an_ascii_terminal(model: Path, tmp_path: Path) -> None:
    """The backend of a notebook is not needed, and letters that the terminal lacks are escaped."""
    folder = images(tmp_path / "\u80ba")
    environment = os.environ | {
        "MPLBACKEND": "module://no_such_backend.inline",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    command = [sys.executable, "-m", "trustseg", "predict", str(model), str(folder), "-o", str(tmp_path / "\u00fc")]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert rb"\xfc/predictions.csv" in done.stdout
    assert "\u00fcber \u80ba.png" in set(read_csv(tmp_path / "\u00fc" / "predictions.csv", as_text=True)["image"])
    assert len(list((tmp_path / "\u00fc" / "masks").iterdir())) == len(ODD)
