"""The command as a user runs it, in this process: arguments in, exit code and what was printed out."""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests import fake
from tests.training.tiny import use_tiny_networks

from trustseg.data import open_dataset, split_cases, write_phantoms
from trustseg.data.training_record import write_splits
from trustseg.files import write_text
from trustseg.models import build_segmenter


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
Run = Callable[..., Outcome]


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
    assert "Traceback" not in outcome.err + outcome.out
    assert "\r" not in outcome.err + outcome.out
    return lines[-1].removeprefix("trustseg: ")


def refusal(outcome: Outcome) -> str:
    """Return the sentence of a command that was refused for bad input."""
    assert outcome.code == 2, outcome
    return one_sentence(outcome)


def done(outcome: Outcome) -> str:
    """Return what a command that succeeded wrote to stdout."""
    assert outcome.code == 0, outcome
    return outcome.out


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
def train(command: Command, films: Path) -> Run:
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


def write_model(home: str, *, head: str = "beta", seed: int = 0, fold: int | None = None) -> Path:
    """Write the run of an untrained model that has seen a fold of the phantoms in ``films``."""
    pack = open_dataset("films", size=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        build_segmenter(architecture="unet", encoder="resnet18", head=head, size=32).save(Path(home, "model"))
    write_splits(Path(home, "model"), pack, split_cases(pack.index, fold=fold))
    split = "" if fold is None else f", fold: {fold}"
    settings = f"data: {{path: films, size: 32{split}}}\nmodel: {{head: {head}}}\n"
    write_text(Path(home, "config.yaml"), settings)
    return Path(home)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Return what writes phantoms of 32 pixels into a folder as ``write_phantoms`` does, and draws each set once."""
    sets: dict[tuple[int, ...], Path] = {}

    def write(folder: str, *, train: int, test: int, control: int, seed: int) -> None:
        key = (train, test, control, seed)
        if key not in sets:
            made = tmp_path_factory.mktemp("phantoms") / "set"
            sets[key] = write_phantoms(made, train=train, test=test, control=control, size=32, seed=seed)
        shutil.copytree(sets[key], folder)

    return write


@pytest.fixture
def phantoms(command: Command, monkeypatch: pytest.MonkeyPatch, drawn: Callable[..., None]) -> None:
    """Write phantoms into ``films``, and let networks be tiny."""
    use_tiny_networks(monkeypatch)
    drawn("films", train=16, test=6, control=2, seed=0)


@pytest.fixture
def untrained(phantoms: None) -> Path:
    """Return the folder of the run of an untrained evidential model, which has seen their training images."""
    return write_model("run")
