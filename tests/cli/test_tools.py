"""``doctor`` tells without telling on anybody; ``demo`` runs from nothing to a report."""

import getpass
import sys
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import Command
from tests.training.tiny import use_tiny_networks
from tests.warm import start_worker

from trustseg.cli import diagnosis, tools
from trustseg.cli.diagnosis import Diagnosis
from trustseg.review.cases import open_cases
from trustseg.review.risk import read_risk
from trustseg.study import runner


def test_doctor(command: Command) -> None:
    found = command("doctor")
    assert found.code == 0
    assert found.err == ""
    for words in ("Python", "torch", "memory and cores", "this folder", "self-test"):
        assert words in found.out
    assert "equal attacks differ" not in found.out
    assert str(Path.home()) + "/" not in found.out
    assert str(Path.cwd()) not in found.out
    assert sys.prefix not in found.out
    assert getpass.getuser() == "root" or getpass.getuser() not in found.out


def test_doctor_exits_with_2_if_something_is_missing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        diagnosis, "diagnose", lambda: iter([Diagnosis("a", "optional", "b"), Diagnosis("c", "ok", "d")])
    )
    assert command("doctor").code == 0
    monkeypatch.setattr(
        diagnosis, "diagnose", lambda: iter([Diagnosis("a", "missing", "b", "pip install 'trustseg[qata]'")])
    )
    found = command("doctor")
    assert found.code == 2
    assert "pip install 'trustseg[qata]'" in found.out


@pytest.mark.slow
def test_the_quick_demo(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On fewer and smaller images than the shipped study, whose cells tests/test_experiments.py trains."""
    study = yaml.safe_load((tools.EXPERIMENTS / "tiny.yaml").read_text())
    study["training"]["epochs"] = 1
    small = {
        "phantoms": {"train": 8, "test": 3, "control": 1},
        "data": {"size": 32},
        "evaluation": {"masking_checks": 0},
    }
    heads = {"grid": {"model.head": ["bernoulli", "beta"]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(study | small | heads))
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
