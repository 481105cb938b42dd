"""Files, overrides and grids: what is read from where, and what cannot be read."""

from pathlib import Path

import pytest
import yaml
from tests.config.given import refusal, written

import trustseg
from trustseg.config import (
    RunConfig,
    StudyConfig,
    load_run,
    load_study,
    with_values,
)
from trustseg.errors import ConfigError, MissingFileError

EXPERIMENTS = sorted((Path(trustseg.__file__).parent / "experiments").glob("*.yaml"))
EXPERIMENTS = [file for file in EXPERIMENTS if "hypotheses" not in file.stem]  # read by trustseg.study.hypotheses


def test_experiments_are_shipped() -> None:
    assert {"tiny.yaml", "demo.yaml", "covid_cxr.yaml"} <= {file.name for file in EXPERIMENTS}


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda path: path.name)
def test_every_shipped_study_is_valid_and_named_like_its_file(file: Path) -> None:
    study = load_study(file)
    assert study.name == file.stem
    assert study.grid


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda path: path.name)
def test_a_written_configuration_is_read_back_the_same(file: Path, tmp_path: Path) -> None:
    study = load_study(file)
    cell = with_values(study, study.combinations()[0])
    again = load_run(written(tmp_path, yaml.safe_dump(cell.model_dump(mode="json"), sort_keys=False)))
    assert again == cell


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.yaml"):
        load_run(tmp_path / "nowhere.yaml")
    with pytest.raises(MissingFileError):
        load_run(tmp_path)  # a folder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training:\n  epochs: [3\n", "line 3"),
        ("training: {epochs: 3}\ntraining: {batch_size: 4}\n", "line 2: the key 'training' is repeated"),
        ("training:\n  epochs: 3\n  epochs: 4\n", "line 3: the key 'epochs' is repeated"),
        ("training: !!python/object/apply:os.system [ls]\n", "line 1"),
        ("a: \0\n", "is not YAML"),
        ("- data\n", "holds a list"),
        ("data\n", "holds a str"),
        ("1: 2\n", "1"),
        ("training.epochs: 3\n", "unknown key 'training.epochs'"),
    ],
)
def test_a_file_that_is_no_configuration_gets_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(written(tmp_path, text))
    assert words in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_a_file_of_other_bytes_gets_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match="not YAML"):
        load_run(file)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "training:\n", "training:\n  # epochs: 3\ngrid:\n"])
def test_an_empty_file_or_section_means_the_defaults(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert load_run(file) == RunConfig()
    assert load_run(file, ["training.epochs=3"]).training.epochs == 3
    assert load_study(file, ["grid.training.seed=[0, 1]"]).grid == ({"training.seed": (0, 1)},)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epochs", "is not key=value"),
        ("training.epochs=[1", "is not YAML"),
        ("training.epochs.x=3", "training.epochs"),
    ],
)
def test_an_override_that_is_none_gets_a_sentence(override: str, words: str) -> None:
    assert words in refusal(override)


def test_an_override_below_a_single_value_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "training: {epochs: 3}\ngrid: [1]\n")
    with pytest.raises(ConfigError, match=r"'training\.epochs' is a single value, so 'training\.epochs\.x'"):
        load_run(file, ["training.epochs.x=3"])
    with pytest.raises(ConfigError, match="'grid' is a single value"):
        load_study(file, ["grid.model.head=[beta]"])


def test_a_value_may_hold_an_equals_sign() -> None:
    assert load_run(None, ["data.path=a=b"]).data.path == "a=b"


def test_a_study_without_a_name_is_called_like_its_file(tmp_path: Path) -> None:
    assert load_study(written(tmp_path, "", "trial-2.yaml")).name == "trial-2"
    assert load_study(written(tmp_path, "name: other\n", "trial-2.yaml")).name == "other"
    with pytest.raises(ConfigError, match=r"name=\.\./out: expected letters"):
        load_study(written(tmp_path, "name: ../out\n"))


def test_grid_values_may_be_set_by_override(tmp_path: Path) -> None:
    file = written(tmp_path, "grid: {model.head: [bernoulli, beta]}\n")
    assert load_study(file, ["grid.model.head=[beta]"]).grid == ({"model.head": ("beta",)},)


def test_several_grids_are_run_together(tmp_path: Path) -> None:
    file = written(tmp_path, "grid:\n- {model.head: [bernoulli, beta]}\n- {adversarial.fraction: [0.25]}\n")
    study = load_study(file, ["grid.training.seed=[3]"])
    assert study.combinations() == [
        {"model.head": "bernoulli", "training.seed": 3},
        {"model.head": "beta", "training.seed": 3},
        {"adversarial.fraction": 0.25, "training.seed": 3},
    ]
    with pytest.raises(ConfigError, match=r"grid=7: expected"):
        load_study(written(tmp_path, "grid: 7\n"))


def test_no_grid_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"grid=\[\]: expected list of grids"):
        load_study(written(tmp_path, "grid: []\n"))


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("{model.hed: [beta]}", "the grid: unknown key 'model.hed'; did you mean 'model.head'?"),
        ("{model.head: [beta, gauss]}", "the grid: model.head=gauss: expected bernoulli | beta"),
        ("{model.head: beta}", "grid.model.head=beta: expected list of values; write grid.model.head=[beta]"),
        ("{model.head: []}", "grid.model.head=[]: expected list of values; give at least one value"),
        ("{data.fold: [0, 7]}", "fold 7 does not exist"),
        (
            "{model.head: [beta], model.prior: [1, 0.5], loss.kl_weight: [0, 0.1]}",
            "needs model.prior=1",
        ),  # one of four does not fit
        ("{name: [a, b]}", "unknown key 'name'"),
        ("{training.epochs.x: [1]}", "'training.epochs' is a single value"),
    ],
)
def test_every_run_of_a_grid_is_checked_before_anything_starts(tmp_path: Path, grid: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(written(tmp_path, f"grid: {grid}\n"))
    assert words in str(caught.value)


def test_with_values_gives_the_plain_run_and_leaves_the_study_alone() -> None:
    study = StudyConfig(name="x", grid={"model.head": ("bernoulli",)})
    run = with_values(study, {"model.head": "beta", "adversarial.measure.beta": "vacuity"})
    assert type(run) is RunConfig
    assert (run.model.head, run.adversarial.measure.beta) == ("beta", "vacuity")
    assert study.model.head == "bernoulli"
    assert with_values(study, {}) == RunConfig()
