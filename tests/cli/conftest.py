"""The command as a user runs it, in this process: arguments in, exit code and what was printed out."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests import fake


class Outcome(NamedTuple):
    """What a command did.

    Attributes:
        code: its exit code.
        out: what it wrote to stdout.
        err: what it wrote to stderr.
    """

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run ``trustseg`` with some arguments, in an empty folder and with a cache of its own."""
    from trustseg.cli import main

    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TRUSTSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TRUSTSEG_DEBUG", "")  # so that what --debug sets is taken back

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["trustseg", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            code = end.code
        assert isinstance(code, int)
        return Outcome(code, *capsys.readouterr())

    return run


def one_sentence(outcome: Outcome) -> str:
    """Return the sentence of an outcome after checking that it is one, on stderr, without a traceback."""
    lines = outcome.err.strip().splitlines()
    assert lines, "nothing was said"
    assert lines[-1].startswith("trustseg: ")
    assert "Traceback" not in outcome.err
    assert "Traceback" not in outcome.out
    assert "\r" not in outcome.err + outcome.out
    return lines[-1].removeprefix("trustseg: ")


QUICK = (
    *("data.size=32", "model.head=beta", "training.epochs=1", "training.batch_size=2", "training.validation_every=1"),
    *("training.validation_steps=1", "training.accelerator=cpu", "adversarial.warmup_epochs=0"),
    "evaluation.attacks=[{name: fgsm, eps: [4/255]}]",
)


def changed(settings: Sequence[str], arguments: Sequence[str | Path]) -> list[str | Path]:
    """Return usual settings without those that the arguments set, and the arguments."""
    given = {str(argument).partition("=")[0] for argument in arguments}
    return [*(setting for setting in settings if setting.partition("=")[0] not in given), *arguments]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return fake.qata(tmp_path / "films", control=False)


@pytest.fixture
def train(command: Command, films: Path) -> Callable[..., Outcome]:
    """Train on the films with quick settings and some more arguments."""

    def run(*arguments: str | Path) -> Outcome:
        return command("train", f"data.path={films}", *changed(QUICK, arguments))

    return run


def full(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk be full when a file of this name is to be put into its place."""
    replace = os.replace

    def refusing(source: Any, target: Any, **options: Any) -> None:  # noqa: ANN401
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target, **options)

    monkeypatch.setattr(os, "replace", refusing)


@pytest.fixture
def untrained(command: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run: a small untrained evidential model of fold 0 of some phantoms in ``films``."""
    import torch
    from tests.training.tiny import use_tiny_networks

    from trustseg.data import open_dataset, split_cases, write_phantoms
    from trustseg.data.seen import write_splits
    from trustseg.files import write_text
    from trustseg.models import build_segmenter

    use_tiny_networks(monkeypatch)
    write_phantoms("films", train=16, test=6, control=2, size=32, seed=0)
    pack = open_dataset("films", size=32)
    torch.manual_seed(0)
    build_segmenter(architecture="unet", encoder="resnet18", head="beta", size=32).save("run/model")
    write_splits(Path("run/model"), pack, split_cases(pack.index))
    write_text(Path("run/config.yaml"), "data: {path: films}\nmodel: {head: beta}\n")
    return Path("run")
