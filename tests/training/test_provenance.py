"""What a result was made with, told without telling of whom."""

import getpass
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.training.tiny import pack

from trustseg.training import provenance as module
from trustseg.training.provenance import COMMAND, provenance


def test_what_it_holds() -> None:
    images = pack()
    found = provenance(images)
    assert found["data"] == {"digest": images.digest, "layout": "made", "images": 16, "patients": 16, "notes": []}
    packages = found["packages"]
    assert isinstance(packages, dict)
    assert packages["torch"] == torch.__version__.partition("+")[0]
    assert found["threads"] == 1
    json.dumps(found)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["train", "run.yaml", "adversarial.eps=4/255"], "trustseg train run.yaml adversarial.eps=4/255"),
        (["train", "/home/anna/run.yaml", "data.path=/data/x y"], "trustseg train run.yaml 'data.path=x y'"),
        (["study", "~/a.yaml", "-o", "../anna/out", "data.path=./x"], "trustseg study a.yaml -o out data.path=x"),
        (["study", "evaluation.attacks=[{name: fgsm, eps: [1/255]}]"], None),
    ],
)
def test_the_command_holds_no_folders(monkeypatch: pytest.MonkeyPatch, arguments: list[str], shown: str | None) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/anna/bin/trustseg", *arguments])
    command = provenance(pack())["command"]
    assert command == (shown or f"trustseg study '{arguments[1]}'")


def test_existing_relative_paths_are_cut_and_a_worker_tells_the_command_that_it_works_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anna" / "films").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trustseg", "train", "data.path=anna/films"])
    assert provenance(pack())["command"] == "trustseg train data.path=films"
    monkeypatch.setenv(COMMAND, "trustseg study tiny.yaml")
    assert provenance(pack())["command"] == "trustseg study tiny.yaml"


def test_no_user_and_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(Path.home() / "bin" / "trustseg"), f"data.path={Path.home()}"])
    text = json.dumps(provenance(pack()))
    assert str(Path.home()) + "/" not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


def test_a_foreign_repository_around_the_package_is_not_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    installed = tmp_path / "site-packages" / "provenance.py"
    installed.parent.mkdir()
    installed.touch()
    (tmp_path / "thesis.tex").touch()
    git("add", "thesis.tex")
    git("commit", "-m", "a thesis")
    monkeypatch.setattr(module, "__file__", str(installed))
    assert provenance(pack())["commit"] is None
    git("add", "-f", str(installed))
    git("commit", "-m", "its own")
    assert isinstance(provenance(pack())["commit"], str)
    assert provenance(pack())["dirty"] is False
    installed.write_text("changed")
    assert provenance(pack())["dirty"] is True
