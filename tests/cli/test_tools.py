"""``doctor`` tells without telling on anybody; ``demo`` runs from nothing to a report."""

import getpass
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from trustseg.cli import diagnosis
from trustseg.cli.diagnosis import Diagnosis


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
def test_the_quick_demo_and_its_second_run(command: Command) -> None:
    found = command("demo", "--quick")
    assert found.code == 0, found.err
    page = Path("runs/tiny/report.html")
    assert found.out.splitlines()[-1].endswith(f"s; report: {page}")
    for variant in ("bernoulli, none", "bernoulli, uncertain", "beta, random"):
        assert variant in found.out
    assert "[6/6]" in found.err
    assert "\r" not in found.err + found.out
    assert "plotly" in page.read_text(encoding="utf-8").lower()
    records = {path: path.stat().st_mtime_ns for path in Path("runs/tiny/cells").rglob("*")}
    assert command("demo", "--quick").code == 0
    after = {path: path.stat().st_mtime_ns for path in Path("runs/tiny/cells").rglob("*")}
    assert after == records  # the report is written again, nothing else
