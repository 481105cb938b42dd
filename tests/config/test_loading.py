"""Files, overrides and grids: what is read from where, what wins, and what cannot be read."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from tests.config.given import refusal, written

import trustseg
from trustseg.config import AttackConfig, RunConfig, StudyConfig, load_run, load_study, with_values
from trustseg.errors import ConfigError, MissingFileError

EXPERIMENTS = sorted((Path(trustseg.__file__).parent / "experiments").glob("*.yaml"))
EXPERIMENTS = [file for file in EXPERIMENTS if "hypotheses" not in file.stem]  # read by trustseg.study.hypotheses


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda path: path.name)
def test_every_shipped_study_is_valid_and_read_back_the_same(file: Path, tmp_path: Path) -> None:
    study = load_study(file)
    assert study.name == file.stem
    cell = with_values(study, study.combinations()[0])
    assert load_run(written(tmp_path, yaml.safe_dump(cell.model_dump(mode="json"), sort_keys=False))) == cell


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"training:\n  epochs: [3\n", "line 3"),
        (b"training:\n  epochs: 3\n  epochs: 4\n", "line 3: the key 'epochs' is repeated"),
        (b"training: !!python/object/apply:os.system [ls]\n", "line 1"),
        (b"\x89PNG\xff\xfe", "not YAML"),
        (b"- data\n", "holds a list"),
        (b"data\n", "holds a str"),
        (b"1: 2\n", "1"),
        (b"training.epochs: 3\n", "unknown key 'training.epochs'"),
        (b"data: {path: on}\n", "quote"),
    ],
)
def test_a_file_that_is_no_configuration_gets_a_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "study.yaml").write_bytes(content)
    message = refusal(study=tmp_path / "study.yaml")
    assert words in message
    assert "study.yaml" in message
    for absent in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(MissingFileError, match=absent.name):
            load_run(absent)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "training:\n", "training:\n  # epochs: 3\ngrid:\n"])
def test_an_empty_file_or_section_means_the_defaults(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert load_run(file) == load_run(None) == RunConfig()
    assert load_run(file, ["training.epochs=3"]).training.epochs == 3
    assert load_study(file, ["grid.training.seed=[0, 1]"]).grid == ({"training.seed": (0, 1)},)


def test_overrides_win_over_the_file_in_their_order(tmp_path: Path) -> None:
    file = written(tmp_path, "training: {epochs: 3, batch_size: 2}\n")
    run = load_run(file, ["training.epochs=4", "training.epochs=5", "adversarial.measure.beta=vacuity"])
    assert (run.training.epochs, run.training.batch_size) == (5, 2)
    assert run.adversarial.measure.beta == "vacuity"
    with pytest.raises(ValidationError):
        run.training.epochs = 3  # type: ignore[misc]  # the mistake under test


@pytest.mark.parametrize(
    ("override", "words"),
    [("epochs", "is not key=value"), ("training.epochs=[1", "is not YAML"), ("training.epochs.x=3", "training.epochs")],
)
def test_an_override_that_is_none_gets_a_sentence(override: str, words: str) -> None:
    assert words in refusal(override)


def test_an_override_below_a_single_value_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "training: {epochs: 3}\ngrid: [1]\n")
    assert "'training.epochs' is a single value, so 'training.epochs.x'" in refusal("training.epochs.x=3", study=file)
    assert "'grid' is a single value" in refusal("grid.model.head=[beta]", study=file)


@pytest.mark.parametrize(
    ("text", "value"),
    [("4/255", 4 / 255), ("4 / 255", 4 / 255), ("0", 0.0), ("0.25", 0.25), ("1e-3", 0.001), ("255/255", 1.0)],
)
def test_a_budget_may_be_a_fraction(text: str, value: float) -> None:
    assert load_run(None, [f"adversarial.eps={text}"]).adversarial.eps == value


@pytest.mark.parametrize(
    ("former", "key"),
    [("loss.dice_weight", "loss.region_weight"), ("evaluation.suspicions", "evaluation.masking_checks")],
)
def test_former_names_are_read(tmp_path: Path, former: str, key: str) -> None:
    section, name = former.split(".")
    file = written(tmp_path, f"{section}: {{{name}: 16}}\n")
    assert load_run(file) == load_run(None, [f"{key}=16"]) == load_run(None, [f"{former}=16"])
    assert load_run(file, [f"{key}=2"]) == load_run(None, [f"{key}=2"])


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        (AttackConfig(name="fgsm", eps=(0.1,)), "fgsm"),
        (AttackConfig(name="pgd", eps=(0.1,), steps=3), "pgd3"),
        (AttackConfig(name="pgd", eps=(0.1,), norm="l2", restarts=2), "pgd_l2_x2"),
        (AttackConfig(name="r_fgsm", eps=(0.1,), objective="margin"), "r_fgsm_margin"),
    ],
)
def test_label_tells_attacks_apart(attack: AttackConfig, label: str) -> None:
    assert attack.label == label


def test_a_study_without_a_name_is_called_like_its_file(tmp_path: Path) -> None:
    assert load_study(written(tmp_path, "", "trial-2.yaml")).name == "trial-2"
    assert load_study(written(tmp_path, "name: other\n", "trial-2.yaml")).name == "other"
    assert "name=../out: expected text, default study; string should match" in refusal(
        study=written(tmp_path, "name: ../out\n")
    )


def test_several_grids_are_run_together(tmp_path: Path) -> None:
    one = written(tmp_path, "grid: {model.head: [bernoulli, beta]}\n")
    assert load_study(one, ["grid.model.head=[beta]"]).grid == ({"model.head": ("beta",)},)
    file = written(tmp_path, "grid:\n- {model.head: [bernoulli, beta]}\n- {adversarial.fraction: [0.25]}\n")
    study = load_study(file, ["grid.training.seed=[3]"])
    assert study.combinations() == [
        {"model.head": "bernoulli", "training.seed": 3},
        {"model.head": "beta", "training.seed": 3},
        {"adversarial.fraction": 0.25, "training.seed": 3},
    ]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("7", "grid=7: expected a list"),
        ("[]", "tuple should have at least 1 item"),
        ("{model.hed: [beta]}", "the grid: unknown key 'model.hed'; did you mean 'model.head'?"),
        ("{model.head: [beta, gauss]}", "the grid: model.head=gauss"),
        ("{model.head: beta}", "study.yaml: grid.model.head=beta: expected a list; write [beta]"),
        ("{model.head: []}", "grid.model.head=[]: expected list, each: bernoulli | beta; tuple should"),
        ("{data.fold: [0, 7]}", "fold 7 does not exist"),
        ("{model.head: [beta], model.prior: [1, 0.5], loss.kl_weight: [0, 0.1]}", "needs model.prior=1"),  # one of four
        ("{name: [a, b]}", "unknown key 'name'"),
        ("{training.epochs.x: [1]}", "'training.epochs' is a single value"),
    ],
)
def test_every_run_of_a_grid_is_checked_before_anything_starts(tmp_path: Path, grid: str, words: str) -> None:
    assert words in refusal(study=written(tmp_path, f"grid: {grid}\n"))


def test_with_values_gives_the_plain_run_and_leaves_the_study_alone() -> None:
    study = StudyConfig(name="x", grid={"model.head": ("bernoulli",)})
    run = with_values(study, {"model.head": "beta", "adversarial.measure.beta": "vacuity"})
    assert type(run) is RunConfig
    assert (run.model.head, run.adversarial.measure.beta) == ("beta", "vacuity")
    assert study.model.head == "bernoulli"
    assert with_values(study, {}) == RunConfig()
    with pytest.raises(ConfigError, match="the grid"):
        with_values(study, {"model.head": "gauss"})
