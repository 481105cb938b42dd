"""Every way to go wrong ends with one sentence and the exit code it deserves."""

import errno
import getpass
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command, one_sentence

from trustseg import __version__
from trustseg.cli import train as verbs
from trustseg.errors import (
    AttackError,
    BeliefError,
    ConfigError,
    DataError,
    MissingFileError,
    MissingPackageError,
    ModelError,
    RunError,
    ShapeError,
    UnknownNameError,
)

VERBS = ["demo", "data", "train", "evaluate", "study", "report", "predict", "defer", "doctor"]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let ``trustseg train`` raise this."""

    def broken(settings: list[str]) -> None:
        raise error

    monkeypatch.setattr(verbs, "split_settings", broken)


@pytest.mark.parametrize(
    "kind",
    [
        AttackError,
        BeliefError,
        ConfigError,
        DataError,
        MissingFileError,
        MissingPackageError,
        ModelError,
        ShapeError,
        UnknownNameError,
    ],
)
def test_our_own_errors_exit_with_2(
    command: Command, monkeypatch: pytest.MonkeyPatch, kind: Callable[[str], BaseException]
) -> None:
    raising(monkeypatch, kind("got [this], that was expected; change it"))
    found = command("train")
    assert found.code == 2
    assert one_sentence(found) == "got [this], that was expected; change it"
    assert found.out == ""


def test_a_failed_run_exits_with_1(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, RunError("it failed"))
    found = command("train")
    assert found.code == 1
    assert one_sentence(found) == "it failed"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/there/x"),
            2,
            "disk is full at '/there/x'; nothing finished",
        ),
        (OSError("No space left on device (os error 28)"), 2, "the disk is full; nothing finished is lost"),
        (ValueError("I/O error: No space left on device (os error 28)"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/there"), 2, "Permission denied at '/there'; check"),
        (MemoryError(), 2, "out of memory"),
        (
            KeyError("weights"),
            1,
            "KeyError: 'weights'; this is a bug in trustseg",
        ),
        (RuntimeError("one\n  two\nthree"), 1, "RuntimeError: one two three; this is a bug"),
    ],
)
def test_errors_of_others(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, words: str
) -> None:
    raising(monkeypatch, error)
    found = command("train")
    assert found.code == code
    assert words in one_sentence(found)


def test_a_gpu_without_memory(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch names it."""

    raising(monkeypatch, OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert "out of memory; lower" in one_sentence(command("train"))


@pytest.mark.parametrize("arguments", [["--debug", "train"], ["train", "--debug"]])
def test_debug_shows_the_traceback(command: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    raising(monkeypatch, DataError("broken"))
    with pytest.raises(DataError, match="broken"):
        command(*arguments)


def test_an_interruption_exits_with_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    found = command("train")
    assert found.code == 130
    assert one_sentence(found) == "interrupted; run the same command again to resume"


@pytest.mark.parametrize(("end", "code", "words"), [(EOFError, 2, "no input"), (KeyboardInterrupt, 130, "interrupted")])
def test_a_question_without_an_answer(
    command: Command, monkeypatch: pytest.MonkeyPatch, end: type[BaseException], code: int, words: str
) -> None:
    def ended(*_: object, **__: object) -> str:
        raise end

    monkeypatch.setattr(getpass, "getpass", ended)
    found = command("review", "user", "users.json", "ann")
    assert found.code == code
    assert one_sentence(found).startswith(words)
    assert "resume" not in found.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--nonsense"], "no such option: --nonsense; see 'trustseg train --help'"),
        (["trian"], "no such command 'trian'. Did you mean 'train'? see 'trustseg --help'"),
        (["predict"], "missing argument 'model'; see 'trustseg predict --help'"),
        (["evaluate", "x", "--mc-dropout", "0"], "invalid value for '--mc-dropout'"),
        (["demo", "--jobs", "many"], "invalid value for '--jobs'"),
    ],
)
def test_usage_errors_look_like_ours(command: Command, arguments: list[str], sentence: str) -> None:
    found = command(*arguments)
    assert found.code == 2
    assert one_sentence(found).lower().startswith(sentence.lower())
    assert len(found.err.splitlines()) == 1
    assert found.out == ""


def test_the_version(command: Command) -> None:
    assert command("--version") == (0, f"trustseg {__version__}\n", "")


def test_help_names_every_verb(command: Command) -> None:
    found = command("--help")
    assert found.code == 0
    assert [verb for verb in VERBS if verb not in found.out] == []


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("demo", ["--quick", "test the installation", "--jobs", "--output"]),
        ("train", ["settings", "--output", "--keys", "adversarial.eps=4/255"]),
        ("evaluate", ["model", "--split", "test", "--output"]),
        ("study", ["--jobs", "one per core", "--status", "--output"]),
        ("report", ["RUN_FOLDER", "--no-gallery"]),
        ("predict", ["--measure", "entropy", "--aggregation", "mean", "predictions"]),
        ("defer", ["fit", "apply", "human"]),
        ("doctor", ["installation"]),
    ],
)
def test_help_of_each_verb(command: Command, verb: str, words: list[str]) -> None:
    found = command(verb, "--help")
    assert found.code == 0
    assert [word for word in words if word.lower() not in " ".join(found.out.lower().split())] == []


def on_a_terminal(arguments: list[str], **environment: str) -> str:
    """Return what the command writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **environment}
    code = "import sys; from trustseg.cli import main; sys.argv[0] = 'trustseg'; main()"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:  # Linux says so when the other side is closed
            pass
    os.close(ours)
    return written.decode()


def test_colours_only_where_they_are_wanted(tmp_path: Path) -> None:
    arguments = ["train", str(tmp_path / "nowhere.yaml")]
    assert "\x1b[31m" in on_a_terminal(arguments, NO_COLOR="")
    plain = on_a_terminal(arguments, NO_COLOR="1")
    assert "\x1b" not in plain
    assert "nowhere.yaml" in plain
