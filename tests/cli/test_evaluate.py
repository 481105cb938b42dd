"""``trustseg evaluate``: on whom it may measure, and where it writes."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from tests.cli.conftest import Command, Outcome, one_sentence
from tests.training.tiny import use_tiny_networks

from trustseg.config import load_run
from trustseg.data import open_dataset, split_cases, write_phantoms
from trustseg.data.seen import write_splits
from trustseg.files import read_json, write_text
from trustseg.models import build_segmenter

Evaluate = Callable[..., Outcome]

SETTINGS = ["data.size=32", "evaluation.attacks=[{name: fgsm, eps: [4/255]}]", "training.accelerator=cpu"]


@pytest.fixture
def evaluate(command: Command, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Run ``trustseg evaluate`` on a model of fold 1 of some phantoms, both in the current folder."""
    use_tiny_networks(monkeypatch)
    for name, seed in (("films", 0), ("others", 1)):
        write_phantoms(name, train=8, test=4, control=0, size=32, seed=seed)
    pack = open_dataset("films", size=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build_segmenter(architecture="unet", encoder="resnet18", head="beta", size=32).save("run/model")
    write_splits(Path("run/model"), pack, split_cases(pack.index, fold=1))
    write_text(Path("run/config.yaml"), "data: {path: films, fold: 1}\n")

    def run(*arguments: str) -> Outcome:
        return command("evaluate", "run/model", *SETTINGS, *arguments)

    return run


def test_every_split_has_a_folder_of_its_own(evaluate: Evaluate) -> None:
    for split in ("test", "validation"):
        found = evaluate("--split", split, "--allow-training-patients")
        assert found.code == 0
        assert found.out.endswith(f"records: run/evaluation-{split}/records.parquet\n")
        folder = Path(f"run/evaluation-{split}")
        assert pl.read_parquet(folder / "records.parquet")["split"].unique().to_list() == [split]
        assert load_run(folder / "config.yaml").data.fold == 1
        assert read_json(folder / "provenance.json").keys() >= {"trustseg", "data", "command"}


@pytest.mark.parametrize("arguments", [["data.fold=null"], ["--split", "train"], ["--split", "all"]])
def test_patients_it_has_seen_are_refused_unless_that_is_meant(evaluate: Evaluate, arguments: list[str]) -> None:
    found = evaluate(*arguments)
    assert found.code == 2
    assert "add --allow-training-patients" in one_sentence(found)
    assert not list(Path("run").glob("evaluation*"))
    assert evaluate(*arguments, "--allow-training-patients").code == 0


def test_other_data_does_not_overwrite_its_own(evaluate: Evaluate) -> None:
    found = evaluate("data.path=others", "data.fold=null", "--allow-training-patients")
    assert found.code == 0
    assert found.out.endswith("records: run/evaluation-test-others/records.parquet\n")


def test_other_settings_do_not_overwrite(evaluate: Evaluate) -> None:
    assert evaluate().code == 0
    found = evaluate("evaluation.measures=[entropy]")
    assert found.code == 2
    assert "'run/evaluation-test' holds a run with other settings" in one_sentence(found)
    assert evaluate("evaluation.measures=[entropy]", "-o", "given").code == 0
    assert "u_vacuity_mean" in pl.read_parquet("run/evaluation-test/records.parquet").columns


def test_a_model_that_does_not_say_whom_it_has_seen(evaluate: Evaluate) -> None:
    Path("run/model/splits.json").unlink()
    found = evaluate("--split", "all")
    assert found.code == 0
    assert "no splits.json in 'run/model': it could not be checked" in found.err
    assert found.out.endswith("records: run/evaluation-all-films/records.parquet\n")
