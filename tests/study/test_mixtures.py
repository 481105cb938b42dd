"""Mixtures in a study: which cells they are, what they wait for, and that their tables are those of the mixture."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from tests.training.tiny import TINY, pack, use_tiny_networks

from trustseg.config import StudyConfig, load_study
from trustseg.errors import DataError, RunError
from trustseg.evaluation import evaluate, rows_of_split
from trustseg.files import write_json
from trustseg.models import BeliefModel, DeepEnsemble, MCDropout, Segmenter
from trustseg.run_files import MixtureDescription
from trustseg.study import mixtures as module
from trustseg.study.cell import prepare_cell
from trustseg.study.grid import Cell, cells_of
from trustseg.study.mixtures import is_blocked, load_mixture, mixture_of
from trustseg.study.worker import work

BOTH = ("mixtures.ensemble=true", "mixtures.mc_dropout=3")


@pytest.fixture(autouse=True)
def _small_and_tidy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let workers find the images in memory and train networks of three layers, and leave torch as it was."""
    use_tiny_networks(monkeypatch)
    monkeypatch.setattr("trustseg.data.open_dataset", lambda *args, **options: pack())
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of two seeds with both mixtures, run by one worker; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the tests, which compare bits
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        patch.setattr("trustseg.data.open_dataset", lambda *args, **options: pack())
        planned(study(folder), folder)
        work(folder)
    torch.set_num_threads(threads)
    return folder


def study(tmp_path: Path, *settings: str) -> StudyConfig:
    file = tmp_path / "study.yaml"
    file.write_text(
        "evaluation: {attacks: [{name: fgsm, eps: [4/255]}], gallery: 2}\n"
        "grid: {training.seed: [0, 1], adversarial.selection: [none]}\n"
    )
    return load_study(file, [*TINY, "training.epochs=1", "data.fold=1", *BOTH, *settings])


def planned(config: StudyConfig, folder: Path) -> list[Cell]:
    """A study's folder as the runner prepares it, its images being those of ``pack``."""
    cells = cells_of(config, data_digest=pack().digest)
    for cell in cells:
        prepare_cell(cell, folder / "cells" / cell.name)
    write_json(folder / "plan.json", {"cells": [cell.name for cell in cells]})
    return cells


def folders_of(folder: Path) -> list[Path]:
    """The cells of the plan: two seeds, the ensemble, MC dropout."""
    return [folder / "cells" / name for name in json.loads((folder / "plan.json").read_text())["cells"]]


def without_ensemble(finished: Path, tmp_path: Path) -> tuple[Path, list[Cell]]:
    """A copy of the study whose ensemble is still to be measured, and its cells."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    shutil.rmtree(folders_of(folder)[2])
    return folder, planned(study(tmp_path), folder)


def test_a_study_of_two_seeds_from_end_to_end(finished: Path) -> None:
    folders = folders_of(finished)
    about = [json.loads((folder / "cell.json").read_text()) for folder in folders]
    assert [cell["variant"] for cell in about] == ["none", "none", "none, ensemble of 2", "none, MC dropout 3"]
    tables = [pl.read_parquet(folder / "records.parquet") for folder in folders]
    assert all(table.columns == tables[0].columns and len(table) == len(tables[0]) for table in tables)
    told = [json.loads((folder / "evaluation.json").read_text()) for folder in folders]
    assert [cost["passes"] for cost in told] == [1, 1, 2, 3]
    assert all(cost["seconds_per_image"] > 0 for cost in told)
    done = [json.loads((folder / "done.json").read_text()) for folder in folders]
    assert [cell["seconds_training"] > 0 for cell in done] == [True, True, False, False]
    assert [cell["epochs"] for cell in done] == [1, 1, 0, 0]
    assert all(cell["seconds_evaluation"] > 0 for cell in done)
    for folder in folders[2:]:
        assert not (folder / "model").exists()
        assert {path.name for path in folder.iterdir()} >= {"gallery.npz", "policy.json", "provenance.json"}


def test_nothing_is_computed_twice(finished: Path) -> None:
    def times() -> dict[Path, int]:
        files = (finished / "cells").rglob("*.*")
        return {path: path.stat().st_mtime_ns for path in files if path.name != "claim.lock"}

    before = times()
    planned(study(finished), finished)
    work(finished)
    assert times() == before


def test_the_tables_are_those_of_the_mixture(finished: Path, tmp_path: Path) -> None:
    folders = folders_of(finished)
    config = cells_of(study(tmp_path), data_digest="d")[0].config
    members = [Segmenter.load(folder / "model").eval() for folder in folders[:2]]
    rows = rows_of_split(pack(), "test", config.data)
    clean = pl.read_parquet(folders[2] / "records.parquet").filter(pl.col("condition") == "clean")
    assert (clean["variant"].unique().to_list(), clean["seed"].unique().to_list()) == (["none, ensemble of 2"], [0])
    assert clean["strength_median"].null_count() == len(clean)  # a mixture of Betas is no Beta
    mixed: list[BeliefModel] = [DeepEnsemble(members), MCDropout(members[0], samples=3)]
    for folder, model in zip(folders[2:], mixed, strict=True):
        by_hand = evaluate(model, pack(), rows, config.evaluation, tmp_path / "by_hand" / folder.name)
        want, got = (pl.read_parquet(place / "records.parquet") for place in (by_hand, folder))
        shared = ["condition", "image", "dice", "brier", "u_mutual_information_mean", "linf"]
        assert got.select(shared).equals(want.select(shared))


def test_cells_of_every_variant_and_fold(tmp_path: Path) -> None:
    config = study(tmp_path, "grid.data.fold=[0, 1]", "grid.adversarial.selection=[none, random]")
    cells = cells_of(config, data_digest="d")
    trained = [cell for cell in cells if cell.mixture is None]
    mixed = cells[len(trained) :]
    assert (len(trained), len(mixed)) == (8, 8)
    assert trained == cells_of(
        study(tmp_path, *("grid.data.fold=[0, 1]", "grid.adversarial.selection=[none, random]", "mixtures={}")),
        data_digest="d",
    )
    by_name = {cell.name: cell for cell in trained}
    assert len({cell.name for cell in cells}) == 16
    for cell in mixed:
        assert cell.mixture is not None
        members = [by_name[name] for name in cell.mixture.members]
        assert {(member.variant, member.config.data.fold) for member in members} == {
            (cell.variant.rpartition(",")[0], cell.config.data.fold)
        }
        assert [member.config.training.seed for member in members] == ([0] if cell.mixture.samples else [0, 1])
        assert cell.mixture.passes == (cell.mixture.samples or 2)


def test_what_changes_the_folder_of_a_mixture(tmp_path: Path) -> None:
    def names(*settings: str, digest: str = "d") -> list[str]:
        return [cell.name for cell in cells_of(study(tmp_path, *settings), data_digest=digest) if cell.mixture]

    ensemble, sampled = names()
    assert names("mixtures.dropout=0.3")[0] == ensemble
    assert names("mixtures.dropout=0.3")[1] != sampled
    assert names("mixtures.mc_dropout=4")[1] != sampled
    third, same = names("grid.training.seed=[0, 1, 2]")
    assert third != ensemble
    assert same == sampled  # the first seed is the same model
    assert set(names(digest="e")).isdisjoint(names())
    assert names("evaluation.masking_checks=3") == [ensemble, sampled]


def test_members_that_are_not_done_are_waited_for(tmp_path: Path) -> None:
    one, other, ensemble, sampled = planned(study(tmp_path), tmp_path)
    folders = [tmp_path / "cells" / cell.name for cell in (one, other, ensemble, sampled)]
    assert [is_blocked(folder) for folder in folders] == [False, False, True, True]
    write_json(folders[0] / "done.json", {})
    assert [is_blocked(folder) for folder in folders] == [False, False, True, False]
    write_json(folders[1] / "failed.json", {"error": "it broke"})
    assert not is_blocked(folders[2])  # to be skipped with a sentence
    with pytest.raises(RunError, match=rf"skipped, as its member '{other.name}' failed"):
        load_mixture(folders[2], MixtureDescription(members=[one.name, other.name]))


def test_a_failed_member_skips_its_mixture_and_no_other(finished: Path, tmp_path: Path) -> None:
    folder, _ = without_ensemble(finished, tmp_path)
    _, second, ensemble, sampled = folders_of(folder)
    (second / "done.json").unlink()
    (sampled / "done.json").unlink()
    write_json(second / "failed.json", {"error": "the loss of epoch 3 is not finite"})
    work(folder)
    assert [(cell / "done.json").exists() for cell in (second, ensemble, sampled)] == [False, False, True]
    error = json.loads((ensemble / "failed.json").read_text())["error"]
    assert error.startswith(f"skipped, as its member '{second.name}' failed")


@pytest.mark.parametrize(("has_dropout", "rate"), [(True, None), (False, 0.2)])
def test_a_layer_is_placed_only_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_dropout: bool, rate: float | None
) -> None:
    write_json(tmp_path / "a" / "done.json", {})
    layers = torch.nn.Sequential(torch.nn.Dropout2d(0.5 if has_dropout else 0.0))
    asked: list[object] = []
    monkeypatch.setattr(Segmenter, "load", lambda folder: layers)
    monkeypatch.setattr(module, "load_model", lambda folder, **options: asked.append((folder, options)))
    load_mixture(tmp_path / "mixture", MixtureDescription(members=["a"], samples=7, dropout=0.2))
    assert asked == [(tmp_path / "a" / "model", {"samples": 7, "dropout": rate, "uncalibrated": True})]


def test_a_damaged_description(tmp_path: Path) -> None:
    write_json(tmp_path / "cell.json", {"mixture": {"members": ["a"], "samples": "many", "dropout": 0.2}})
    with pytest.raises(DataError, match=r"cell\.json"):
        mixture_of(tmp_path)
