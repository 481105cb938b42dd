"""A worker does what is left to do, and one cell's misfortune is not another's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.study.small import described

from trustseg.errors import DataError
from trustseg.files import write_json, write_text
from trustseg.study import cell as module
from trustseg.study.cell import claimed
from trustseg.study.worker import main, work

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cells that were run, in a plan of four whose data are never opened."""
    write_json(tmp_path / "plan.json", {"cells": NAMES})
    for name in NAMES:
        write_text(tmp_path / "cells" / name / "config.yaml", "data: {path: nowhere}\n")
        described(tmp_path / "cells" / name)
    names: list[str] = []
    monkeypatch.setattr("trustseg.data.open_dataset", lambda *args, **options: None)
    monkeypatch.setattr(module, "run_cell", lambda folder, config, pack: names.append(folder.name))
    return names


def breaking(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run_cell(folder: Path, config: Any, pack: Any) -> None:  # noqa: ANN401
        if folder.name == "b":
            raise error

    monkeypatch.setattr(module, "run_cell", run_cell)


@pytest.mark.parametrize("before", [None, ":16:8"])
def test_trainings_are_repeatable_on_a_gpu_even_after_an_evaluation(
    tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    name = "CUBLAS_WORKSPACE_CONFIG"
    monkeypatch.setenv(name, before or "")  # to be restored afterwards
    if before is None:
        monkeypatch.delenv(name)
    work(tmp_path)
    assert os.environ[name] == (before or ":4096:8")


def test_cells_come_in_the_order_of_the_plan(tmp_path: Path, ran: list[str]) -> None:
    work(tmp_path)
    assert ran == list(NAMES)


def test_what_is_done_failed_or_taken_is_left_out(tmp_path: Path, ran: list[str]) -> None:
    write_json(tmp_path / "cells" / "a" / "done.json", {})
    write_json(tmp_path / "cells" / "c" / "failed.json", {"error": "before"})
    with claimed(tmp_path / "cells" / "d"):
        work(tmp_path)
    assert ran == ["b"]


@pytest.mark.parametrize(
    ("error", "sentence", "log"),
    [
        (DataError("no images; add some"), "no images; add some", "Traceback"),
        (KeyError("weights"), "KeyError: 'weights'", "Traceback"),
        (MemoryError(), "out of memory; lower data.size", "out of memory"),
        (OSError(28, "No space left on device", "there"), "the disk is full at 'there'; nothing finished", "the disk"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full; nothing", "the disk"),
    ],
)
def test_a_failure_is_noted_and_the_others_go_on(
    tmp_path: Path,
    ran: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    sentence: str,
    log: str,
) -> None:
    breaking(monkeypatch, error)
    work(tmp_path)
    assert json.loads((tmp_path / "cells" / "b" / "failed.json").read_text())["error"].startswith(sentence)
    assert not any((tmp_path / "cells" / name / "failed.json").exists() for name in "acd")
    assert capsys.readouterr().err.startswith(log)  # workers.log


def test_a_worker_that_cannot_even_note_a_failure_says_why(
    tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    breaking(monkeypatch, DataError("no images; add some"))
    monkeypatch.setattr("trustseg.files.write_json", full)
    with pytest.raises(SystemExit, match=r"^the disk is full at '.*b/failed\.json'; nothing finished is lost"):
        main([str(tmp_path)])


def test_an_interruption_is_no_failure(tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path)
    assert not (tmp_path / "cells" / "b" / "failed.json").exists()


def test_a_worker_whose_parent_is_gone_ends_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as parent:
        parent.wait()
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / "plan.json")  # reading the plan takes for ever
    command = [sys.executable, "-m", "trustseg.study.worker", str(tmp_path / "fifo"), str(parent.pid)]
    assert subprocess.run(command, timeout=60).returncode == 1
