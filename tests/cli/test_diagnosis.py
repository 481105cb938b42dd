"""What is installed, what is missing and what to do about it."""

import builtins
import importlib.metadata
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trustseg.cli import diagnosis
from trustseg.cli.diagnosis import Diagnosis, diagnose


def findings(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None]) -> dict[str, Diagnosis]:
    """Return the findings by name where these packages have these versions."""
    version = importlib.metadata.version

    def pretended(name: str) -> str:
        found = versions.get(name, "") or ("" if name in versions else version(name))
        if not found:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", pretended)
    monkeypatch.setattr(diagnosis, "_torch", lambda: iter(()))
    return {finding.check: finding for finding in diagnose()}


def test_what_is_missing_has_an_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, {"kornia": None, "kagglehub": None, "tensorboard": "2.20"})
    assert (found["kornia"].state, found["kornia"].found) == ("missing", "not installed")
    assert "make setup" in found["kornia"].advice
    assert found["kagglehub"].state == "optional"
    assert "pip install 'trustseg[qata]'" in found["kagglehub"].advice
    assert found["tensorboard"].state == "ok"
    assert all(finding.advice for finding in found.values() if finding.state != "ok")


def test_every_extra_for_users_is_looked_at() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    extras = {name: packages for name, packages in optional.items() if name not in ("dev", "docs")}
    looked_at = {extra: package for package, (extra, _) in diagnosis.OPTIONAL.items()}
    assert looked_at.keys() == extras.keys()
    assert all(extras[extra][0].startswith(package) for extra, package in looked_at.items())


@pytest.mark.parametrize("name", ["lightning", "pytorch-lightning"])
def test_compromised_releases_are_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    found = findings(monkeypatch, {name: "2.6.2"})
    assert (found[name].state, found[name].found) == ("missing", "2.6.2: a compromised release")


def test_a_broken_torch_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, *arguments: Any, **options: Any) -> ModuleType:  # noqa: ANN401
        if name == "torch":
            raise OSError("/home/anna/lib/libcudart.so.12: cannot open shared object file")
        return imported(name, *arguments, **options)

    imported: Callable[..., ModuleType] = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", broken)
    (found,) = diagnosis._torch()
    assert found.state == "missing"
    assert found.found == "OSError: libcudart.so.12: cannot open shared object file"


def test_a_self_test_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Diagnosis:
        raise RuntimeError("no kernel in '/home/anna/x.so'\nfor this device")

    monkeypatch.setattr(diagnosis, "_self_test", broken)
    found = list(diagnosis._torch())[-1]
    assert (found.state, found.found) == ("missing", "RuntimeError: no kernel in 'x.so' for this device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.chdir(tmp_path)
    assert diagnosis._disk().state == "missing"
