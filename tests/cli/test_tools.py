"""``doctor`` names what is missing, and nobody; ``demo`` runs from nothing to a report."""

import builtins
import getpass
import importlib.metadata
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from tests.cli.conftest import Command
from tests.training.tiny import use_tiny_networks
from tests.warm import start_worker

from trustseg.cli import diagnosis, tools
from trustseg.cli.diagnosis import Diagnosis, diagnose
from trustseg.review.cases import open_cases
from trustseg.review.risk import read_risk
from trustseg.study import runner


def test_doctor(command: Command) -> None:
    found = command("doctor")
    assert (found.code, found.err) == (0, "")
    for words in ("Python", "torch", "memory and cores", "this folder", "self-test"):
        assert words in found.out
    assert "equal attacks differ" not in found.out
    for private in (f"{Path.home()}/", str(Path.cwd()), sys.prefix):
        assert private not in found.out
    assert getpass.getuser() == "root" or getpass.getuser() not in found.out


def test_doctor_exits_with_2_if_something_is_missing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Diagnosis("a", "optional", "b"), Diagnosis("c", "ok", "d")]
    monkeypatch.setattr(diagnosis, "diagnose", lambda: iter(found))
    assert command("doctor").code == 0
    found.append(Diagnosis("e", "missing", "f", "pip install 'trustseg[qata]'"))
    outcome = command("doctor")
    assert outcome.code == 2
    assert "pip install 'trustseg[qata]'" in outcome.out


def test_what_is_missing_has_an_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    pretended = {"kornia": "", "kagglehub": "", "tensorboard": "2.20"}
    pretended |= {"lightning": "2.6.2", "pytorch-lightning": "2.6.3"}

    def found_version(name: str) -> str:
        if not (found := pretended[name] if name in pretended else version(name)):
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", found_version)
    monkeypatch.setattr(diagnosis, "_torch", lambda: iter(()))
    found = {finding.check: finding for finding in diagnose()}
    assert (found["kornia"].state, found["kornia"].found) == ("missing", "not installed")
    assert "make setup" in found["kornia"].advice
    assert found["kagglehub"].state == "optional"
    assert "pip install 'trustseg[qata]'" in found["kagglehub"].advice
    assert found["tensorboard"].state == "ok"
    for name in ("lightning", "pytorch-lightning"):
        assert found[name][1:3] == ("missing", f"{pretended[name]}: a compromised release")
    assert all(finding.advice for finding in found.values() if finding.state != "ok")


def test_every_extra_for_users_is_looked_at() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    extras = {name: packages for name, packages in optional.items() if name not in ("dev", "docs")}
    looked_at = {extra: package for package, (extra, _) in diagnosis.OPTIONAL.items()}
    assert looked_at.keys() == extras.keys()
    assert all(extras[extra][0].startswith(package) for extra, package in looked_at.items())


def test_what_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, *arguments: Any, **options: Any) -> ModuleType:  # noqa: ANN401
        if name == "torch":
            raise OSError("/home/anna/lib/libcudart.so.12: cannot open\n shared object file")
        return imported(name, *arguments, **options)

    imported: Callable[..., ModuleType] = builtins.__import__
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", broken)
        (found,) = diagnosis._torch()
        with pytest.raises(OSError, match="libcudart"):
            diagnosis._self_test()
    assert (found.state, found.found) == ("missing", "OSError: libcudart.so.12: cannot open shared object file")
    monkeypatch.setattr(diagnosis, "_self_test", lambda: broken("torch"))
    assert list(diagnosis._torch())[-1] == ("self-test", "missing", found.found, found.advice)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.chdir(tmp_path)
    assert diagnosis._disk().state == "missing"


@pytest.mark.slow
def test_the_quick_demo(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On fewer and smaller images than the shipped study, whose cells tests/test_experiments.py trains."""
    study = yaml.safe_load((tools.EXPERIMENTS / "tiny.yaml").read_text())
    study["training"]["epochs"] = 1
    small = {
        "phantoms": {"train": 8, "test": 3, "control": 1},
        "data": {"size": 32},
        "evaluation": {"masking_checks": 0},
        "grid": {"model.head": ["bernoulli", "beta"]},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(study | small))
    monkeypatch.setattr(tools, "EXPERIMENTS", tmp_path)
    monkeypatch.setattr(runner, "_start_worker", start_worker)
    use_tiny_networks(monkeypatch)  # as the worker does: the demo predicts with a model that it trained
    found = command("demo", "--quick", "--jobs", "1")
    assert found.code == 0, found.err
    page = Path("runs/tiny/report.html")
    assert found.out.splitlines()[-2].endswith(f"s; report: {page}")
    next_one = found.out.splitlines()[-1].removeprefix("next: trustseg review ")
    predictions, _, cell = next_one.partition(" --records ")
    assert read_risk(Path(cell), open_cases(Path(predictions)), draws=2).images > 0
    for variant in ("classical", "evidential"):
        assert variant in found.out
    assert "[2/2]" in found.err
    assert "\r" not in found.err + found.out
    assert "plotly" in page.read_text(encoding="utf-8").lower()
