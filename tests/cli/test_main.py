"""Every way to go wrong ends with one sentence and the exit code it deserves."""

import errno
import getpass
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command, one_sentence, refusal
from typer.main import get_command

from trustseg import __version__, errors
from trustseg.cli import app
from trustseg.cli import train as verbs
from trustseg.errors import DataError, RunError, TrustsegError


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


OURS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TrustsegError)]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let ``trustseg train`` raise this."""

    def broken(settings: list[str]) -> None:
        raise error

    monkeypatch.setattr(verbs, "split_settings", broken)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        *((kind("got [this]; change it"), 1 if kind is RunError else 2, "got [this]; change it") for kind in OURS),
        (OSError(errno.ENOSPC, "No space left on device", "/there/x"), 2, "disk is full at '/there/x'; nothing"),
        (OSError("No space left on device (os error 28)"), 2, "the disk is full; nothing finished is lost"),
        (ValueError("I/O error: No space left on device (os error 28)"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/there"), 2, "Permission denied at '/there'; check"),
        (MemoryError(), 2, "out of memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate"), 2, "out of memory; lower"),
        (KeyError("weights"), 1, "KeyError: 'weights'; this is a bug in trustseg"),
        (RuntimeError("one\n  two\nthree"), 1, "RuntimeError: one two three; this is a bug"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to resume"),
    ],
)
def test_an_error_is_a_sentence_and_a_code(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    raising(monkeypatch, error)
    found = command("train")
    assert (found.code, found.out) == (code, "")
    assert words in one_sentence(found)


@pytest.mark.parametrize("arguments", [["--debug", "train"], ["train", "--debug"]])
def test_debug_shows_the_traceback(command: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    raising(monkeypatch, DataError("broken"))
    with pytest.raises(DataError, match="broken"):
        command(*arguments)


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
        (["study", "x", "--jobs", "many"], "invalid value for '--jobs'"),
        (["study", "x", "--jobs=0"], "invalid value for '--jobs'"),
        (["study", "x", "--cluster", "slrum"], "invalid value for '--cluster'"),
        (["calibrate", "x", "--method", "platt"], "invalid value for '--method'"),
        (["defer", "fit", "x", "--target", "dice"], "invalid value for '--target'"),
        (["data", "pack", "x", "y", "--channels", "2"], "invalid value for '--channels'"),
    ],
)
def test_usage_errors_look_like_ours(command: Command, arguments: list[str], sentence: str) -> None:
    found = command(*arguments)
    assert refusal(found).lower().startswith(sentence.lower())
    assert len(found.err.splitlines()) == 1
    assert found.out == ""


def test_the_version(command: Command) -> None:
    assert command("--version") == (0, f"trustseg {__version__}\n", "")


def verbs_of(group: Any, *above: str) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - Typer's Click is private
    for name, verb in getattr(group, "commands", {}).items():
        yield (*above, name)
        yield from verbs_of(verb, *above, name)


def test_every_verb_has_help_and_keys_are_listed(command: Command) -> None:
    for verb in verbs_of(get_command(app)):
        found = command(*verb, "--help")
        assert (found.code, "Usage" in found.out) == (0, True), verb
    found = command("defer", "masks", "--keys")
    assert found.code == 0
    assert all(words in found.out for words in ("adversarial.eps", "4/255", "training.patience", "null"))


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
