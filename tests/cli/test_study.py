"""``study`` hands its settings on, shows where it stands, and is honest about what failed; see test_refusals.py too."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import Command, done, refusal

from trustseg.cli.study import default_jobs
from trustseg.config import StudyConfig
from trustseg.files import write_json
from trustseg.study import runner
from trustseg.study.runner import CellStatus

Observer = Callable[[Sequence[CellStatus]], None]
ONE_SEED = "one seed: the variance between trainings is unknown; grid.training.seed=[0, 1, 2] estimates it\n"
SHIPPED = Path("experiments/hypotheses.yaml").absolute()
UNTESTABLE = [  # by one training without a defence
    "this grid cannot test 5 of 6 hypotheses:",
    "  H1: no run has adversarial.selection=random",
    "  H2: no run has adversarial.selection=uncertain, adversarial.fraction=0.25",
    "  H3: no run has adversarial.selection=uncertain",
    "  H4: no run has model.head=beta, adversarial.selection=uncertain",
    "  H6: no run has adversarial.selection=random",
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[StudyConfig, Path, int]]:
    """What the runner was asked for; it then shows a study of two cells."""
    asked: list[tuple[StudyConfig, Path, int]] = []

    def run_study(config: StudyConfig, folder: Path, *, jobs: int, observer: Observer) -> None:
        asked.append((config, folder, jobs))
        for stages in (("waiting", "waiting"), ("running", "waiting"), ("running", "running"), ("done", "failed")):
            observer([status(name, state) for name, state in zip("ab", stages, strict=True)])

    monkeypatch.setattr(runner, "run_study", run_study)
    return asked


def status(name: str, state: str) -> CellStatus:
    stage = "training" if state == "running" else ""
    error = "it [broke]" if state == "failed" else ""
    return CellStatus(f"{name}-seed0-12345678", name, state, stage=stage, share=0.5, error=error)  # type: ignore[arg-type]


def written(text: str = "name: mine\nmodel: {head: beta}\n") -> Path:
    Path("mine.yaml").write_text(text)
    return Path("mine.yaml")


def test_what_it_says(command: Command, calls: list[tuple[StudyConfig, Path, int]]) -> None:
    found = command("study", written(), "training.epochs=3", "-j", "2", "--hypotheses", SHIPPED)
    assert found.code == 0
    assert found.out == "study: runs/mine\nnext: trustseg report runs/mine\n"
    assert found.err.splitlines() == [
        *UNTESTABLE,  # H5 compares two measures of one model
        ONE_SEED.strip(),
        "[0/2] a-seed0-12345678: running training",
        "[0/2] b-seed0-12345678: running training",
        "[1/2] a-seed0-12345678: done",
        "[1/2] b-seed0-12345678: failed: it [broke]",
    ]
    ((config, folder, jobs),) = calls
    assert (config.training.epochs, folder, jobs) == (3, Path("runs/mine"), 2)


def test_defaults(command: Command, calls: list[tuple[StudyConfig, Path, int]]) -> None:
    command("study", written("training: {epochs: 3}\n"), "-o", "there")
    ((config, folder, jobs),) = calls
    assert (config.name, folder, jobs) == ("mine", Path("there"), default_jobs())
    assert 1 <= default_jobs() <= min(8, len(os.sched_getaffinity(0)))


def test_status(command: Command) -> None:
    folder = Path("runs/mine")
    write_json(folder / "plan.json", {"cells": ["a-1", "b-2"]})
    for name in ("a-1", "b-2"):
        write_json(
            folder / "cells" / name / "cell.json",
            {"id": name, "variant": name, "head": "beta", "selection": "none", "fold": 0, "seed": 0},
        )
    write_json(folder / "cells" / "a-1" / "progress.json", {"stage": "training", "done": 1, "total": 4})
    write_json(folder / "cells" / "b-2" / "failed.json", {"error": "no memory"})
    write_json(folder / "cells" / "a-1" / "warnings.json", {"catastrophic_overfitting": [7]})
    found = command("study", written(), "--status")
    assert (found.code, found.err) == (0, "")
    assert [line.split() for line in found.out.splitlines()] == [
        ["waiting", "training", "25%", "a-1", *["overfitted", "to", "its", "attack", "in", "epochs", "8"]],
        ["failed", "0%", "b-2", "no", "memory"],
    ]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (
            "grid: {model.head: [beta, bernoulli]}\n",
            ["--profile", "lucia", "slurm.account=lung", "slurm.timeout_min=90"],
            ["#SBATCH --array=0-1%2", "2 cells", "at most 3 GPU hours (384 billing units)"],
        ),
        (
            "mixtures: {ensemble: true, mc_dropout: 5}\ngrid: {training.seed: [0, 1]}\n",
            ["slurm.timeout_min=30"],
            [
                "--array=0-1%",
                "2 cells, each a task of one job array and 2 mixtures in a second one; at most 2 GPU hours",
            ],
        ),
    ],
)
def test_a_dry_run_shows_what_would_be_submitted_and_writes_nothing(
    command: Command, text: str, options: list[str], words: list[str]
) -> None:
    pytest.importorskip("submitit")
    slurm = ("--cluster", "slurm", *options, "--dry-run", "--hypotheses", claims(condition="clean"))
    found = done(command("study", written(text), *slurm))
    assert found.startswith("#!/bin/bash\n")
    assert [word for word in words if word not in found] == []
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("done_heads", "said"), [(["beta"], "1 cell, each"), (["beta", "bernoulli"], "every cell is done")]
)
def test_a_dry_run_counts_the_cells_that_are_left(
    command: Command, monkeypatch: pytest.MonkeyPatch, done_heads: list[str], said: str
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr("trustseg.study.folder.is_done", lambda cell: cell.name.split("-")[0] in done_heads)
    file = written("grid: {model.head: [beta, bernoulli]}\n")
    assert said in done(command("study", file, "--cluster", "slurm", "slurm.timeout_min=60", "--dry-run"))


@pytest.mark.usefixtures("small_and_tidy")
def test_a_plan_writes_nothing(command: Command) -> None:
    study = written("phantoms: {train: 8, test: 2}\ndata: {size: 32}\ngrid: {model.head: [beta, bernoulli]}\n")
    idle = ("adversarial.selection=random", "training.epochs=2")
    found = command("study", study, *idle, "--plan", "-j", "2")
    done(found)
    assert [line.split()[:3] for line in found.out.splitlines()[2:4]] == [
        ["evidential", "1", "0"],
        ["classical", "1", "0"],
    ]
    assert "forward and backward passes" in found.out
    assert "time from one step" in found.out
    assert found.err.startswith(ONE_SEED)
    assert "adversarial.selection=random attacks no image" in found.err
    assert "with --jobs 2" in found.out
    assert not Path("runs").exists()


def claims(**changed: object) -> Path:
    claim = {"name": "mine", "claim": "It helps.", "measures": ["dice"], "direction": "higher"}
    sides = {"first": {"model.head": "beta"}, "second": {"model.head": "bernoulli"}}
    Path("claims.yaml").write_text(yaml.safe_dump({"hypotheses": [claim | sides | changed]}))
    return Path("claims.yaml")


def test_hypotheses_are_kept_with_the_study(command: Command, calls: list[tuple[StudyConfig, Path, int]]) -> None:
    done(command("study", written(), "--hypotheses", claims()))
    assert Path("runs/mine/hypotheses.yaml").read_text() == Path("claims.yaml").read_text()
    assert len(calls) == 1


def test_hypotheses_about_nothing_are_refused_at_once(command: Command) -> None:
    for changed, words in (
        ({"first": {"model.haed": "beta"}, "second": {"model.haed": "bernoulli"}}, "did you mean 'model.head'?"),
        ({"first": {"model.head": "betta"}}, "did you mean beta?"),
        ({"dose": "adversarial.fractions"}, "unknown key dose=adversarial.fractions"),
        ({"first_uncertainty": "entropie"}, "did you mean 'entropy'?"),
    ):
        assert words in refusal(command("study", written(), "--hypotheses", claims(**changed), "--plan"))
        assert not Path("runs").exists()
