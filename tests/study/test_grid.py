"""Cells come in the order of their first answer, and are named by what they compute."""

import re
from pathlib import Path
from typing import Any

import pytest

from trustseg.config import StudyConfig, load_study
from trustseg.errors import ConfigError, TrustsegError
from trustseg.study import grid as module
from trustseg.study.grid import Cell, cells_of

EXPERIMENTS = Path(module.__file__).parents[1] / "experiments"
GRID: dict[str, list[Any]] = {
    "model.head": ["bernoulli", "beta"],
    "data.fold": [0, 1],
    "adversarial.selection": ["none", "uncertain"],
}


def study(tmp_path: Path, grid: dict[str, list[Any]], *settings: str) -> StudyConfig:
    file = tmp_path / "study.yaml"
    file.write_text("name: x\n")
    return load_study(file, [*(f"grid.{key}={values}" for key, values in grid.items()), *settings])


def names(tmp_path: Path, *settings: str, digest: str = "d", grid: dict[str, list[Any]] | None = None) -> list[str]:
    return [
        cell.name for cell in cells_of(study(tmp_path, GRID if grid is None else grid, *settings), data_digest=digest)
    ]


def test_repetitions_vary_slowest(tmp_path: Path) -> None:
    cells = cells_of(study(tmp_path, GRID), data_digest="d")
    found = [(cell.config.data.fold, cell.config.model.head, cell.config.adversarial.selection) for cell in cells]
    variants = [("bernoulli", "none"), ("bernoulli", "uncertain"), ("beta", "none"), ("beta", "uncertain")]
    assert found == [(fold, *variant) for fold in (0, 1) for variant in variants]
    assert [cell.variant for cell in cells[:4]] == [", ".join(variant) for variant in variants]
    assert [cell.variant for cell in cells[:4]] == [cell.variant for cell in cells[4:]]
    assert cells[5].values == {"data.fold": 1, "model.head": "bernoulli", "adversarial.selection": "uncertain"}


def test_names(tmp_path: Path) -> None:
    found = names(tmp_path)
    assert len(set(found)) == 8
    assert re.fullmatch(r"bernoulli-none-fold0-seed0-[0-9a-f]{8}", found[0])
    assert found == names(tmp_path)


SAME = (
    *("data.path=/elsewhere", "data.residence=mmap", "training.accelerator=cpu", "training.devices=2", "name=other"),
    *("training.logger=tensorboard", "phantoms.train=3", "evaluation.attacks=[]"),
)
OTHER = ("training.epochs=7", "data.split_seed=1", "loss.kl_weight=0.1")


@pytest.mark.parametrize(("setting", "same"), [*((each, True) for each in SAME), *((each, False) for each in OTHER)])
def test_names_do_not_depend_on_where_how_fast_and_what_is_measured(tmp_path: Path, setting: str, same: bool) -> None:
    before, after = names(tmp_path), names(tmp_path, setting)
    assert after == before if same else not set(after) & set(before)
    assert not set(names(tmp_path, digest="e")) & set(before)


def test_a_larger_grid_keeps_the_cells_of_a_smaller_one(tmp_path: Path) -> None:
    more = {**GRID, "data.fold": [0, 1, 2]}
    assert set(names(tmp_path)) < set(names(tmp_path, grid=more))


def only(tmp_path: Path, grid: dict[str, list[Any]], *settings: str) -> Cell:
    (cell,) = cells_of(study(tmp_path, grid, *settings), data_digest="d")
    return cell


def test_no_grid_is_one_cell(tmp_path: Path) -> None:
    cell = only(tmp_path, {}, "model.head=beta", "adversarial.selection=hard")
    assert cell.variant == "beta, hard"
    assert cell.name.startswith("beta-hard-seed0-")


def test_other_keys_are_named_in_the_variant(tmp_path: Path) -> None:
    cell = only(tmp_path, {"adversarial.eps": ["4/255"], "training.epochs": [3]})
    assert cell.variant == "eps=4/255, epochs=3"
    assert cell.name.startswith("eps-4-255-epochs-3-seed0-")


def test_a_name_with_options_reads_as_it_is_written(tmp_path: Path) -> None:
    grid: dict[str, list[Any]] = {
        "loss.region": [{"name": "tversky", "alpha": 0.2, "beta": 0.8}],
        "model.head": ["beta"],
    }
    cell = only(tmp_path, grid)
    assert cell.variant == "region=tversky(alpha=0.2, beta=0.8), beta"
    assert cell.name.startswith("region-tversky-alpha-0.2-beta-0.8-beta-seed0-")


def test_fractions_among_options_are_shown_whole(tmp_path: Path) -> None:
    grid = {"adversarial.attack": [{"name": "pgd", "step_size": "1/255"}, {"name": "pgd", "step_size": "2/255"}]}
    cells = cells_of(study(tmp_path, grid, "adversarial.selection=random"), data_digest="d")
    assert [cell.variant for cell in cells] == ["attack=pgd(step_size=1/255)", "attack=pgd(step_size=2/255)"]


def test_long_values_make_no_endless_names(tmp_path: Path) -> None:
    assert len(only(tmp_path, {"model.weights": ["long/" * 100]}).name) < 200


def test_attack_settings_without_attacks_make_no_second_cell(tmp_path: Path) -> None:
    one = {"adversarial.selection": ["none"]}
    bare = only(tmp_path, one).name
    ignored = ["adversarial.fraction=0.25", "adversarial.attack=pgd", "adversarial.alignment.kl_weight=3"]
    assert only(tmp_path, one, *ignored).name == bare
    assert only(tmp_path, one, "adversarial.eps=8/255").name != bare  # the robust validation chooses the epoch by it
    sentence = (
        "twice, also as 'none, fraction=0.5': with adversarial.selection=none the other attack settings have no effect"
    )
    for selections in (["none"], ["none", "random"]):
        with pytest.raises(ConfigError, match=sentence):
            names(tmp_path, grid={"adversarial.selection": selections, "adversarial.fraction": [0.25, 0.5]})


def test_keys_of_the_evaluation_make_no_cells(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation keys cannot vary.*set evaluation\.gallery outside"):
        names(tmp_path, grid={"evaluation.gallery": [0, 1]})


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_experiment_makes_cells(file: Path) -> None:
    if "hypotheses" not in file.stem:
        assert cells_of(load_study(file), data_digest="d")


@pytest.mark.parametrize(
    "grid",
    [
        {"model.head": ["beta", "beta"]},
        {"adversarial.eps": ["4/255", 4 / 255]},
        {"training.logger": ["csv", "tensorboard"]},
    ],
    ids=str,
)
def test_the_same_cell_twice(tmp_path: Path, grid: dict[str, list[Any]]) -> None:
    with pytest.raises(ConfigError, match=r"twice; remove repeated values"):
        names(tmp_path, grid=grid)


def test_two_trainings_of_one_name(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("model: {head: beta}\ngrid: [{loss.kl_weight: [1.0]}, {adversarial.alignment.kl_weight: [1.0]}]\n")
    sentence = r"the same name 'kl_weight=1.0'.*they vary loss\.kl_weight and adversarial\.alignment\.kl_weight"
    with pytest.raises(ConfigError, match=sentence):
        cells_of(load_study(file), data_digest="d")


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"model.heads": ["beta"]}, r"model\.head"),
        ({"head": ["beta"]}, "head"),
        ({"model.head": ["gaussian"]}, "gaussian"),
        ({"training.epochs": ["many"]}, r"training\.epochs"),
        ({"model.head": []}, r"grid\.model\.head=\[\]"),
    ],
)
def test_a_grid_that_does_not_fit(tmp_path: Path, grid: dict[str, list[Any]], sentence: str) -> None:
    with pytest.raises(TrustsegError, match=sentence):
        names(tmp_path, grid=grid)
