"""Hypotheses: the shipped ones read, and every way to write one wrongly has its sentence."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from trustseg.config import RunConfig, StudyConfig
from trustseg.errors import ConfigError, MissingFileError
from trustseg.study.grid import cells_of
from trustseg.study.hypotheses import (
    Hypothesis,
    load_hypotheses,
    other_settings,
    require_hypotheses,
    setting,
    settings_match,
    untestable,
)

SHIPPED = Path("experiments/hypotheses.yaml")
GOOD: dict[str, Any] = {
    "name": "H1",
    "claim": "It helps.",
    "first": {"model.head": "beta"},
    "second": {"model.head": "bernoulli"},
    "measures": ["dice"],
    "direction": "higher",
}


def written(tmp_path: Path, *changed: dict[str, Any]) -> Path:
    file = tmp_path / "hypotheses.yaml"
    file.write_text(yaml.safe_dump({"hypotheses": [GOOD | change for change in changed]}))
    return file


def test_those_that_are_shipped() -> None:
    shipped = {hypothesis.name: hypothesis for hypothesis in load_hypotheses(SHIPPED)}
    assert list(shipped) == ["H1", "H2", "H3", "H4", "H5", "H6"]
    assert (shipped["H2"].direction, shipped["H2"].dose) == ("not_lower", "adversarial.fraction")
    assert all(hypothesis.margin > 0 for hypothesis in shipped.values())


def test_budgets_are_read_as_fractions(tmp_path: Path) -> None:
    (hypothesis,) = load_hypotheses(written(tmp_path, {"condition": "pgd", "eps": "4/255"}))
    assert hypothesis.eps == 4 / 255


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"measures": ["accuracy"]}, "unknown score 'accuracy'.*hausdorff_95"),
        ({"measures": [{"name": "surface_dice", "toleranc": 3}]}, "did you mean 'tolerance'"),
        ({"measure": "dice"}, r"measure: "),
        ({"measures": []}, "measures"),
        ({"second": {"adversarial.selection": "none"}}, r"different keys \(adversarial\.selection, model\.head\)"),
        ({"second": {"model.head": "beta"}}, "first and second are the same"),
        ({"direction": "not_lower"}, "needs a margin above 0"),
        ({"direction": "better"}, "direction"),
        ({"margin": -1}, "margin"),
    ],
    ids=str,
)
def test_what_does_not_fit(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"(?i){sentence}"):
        load_hypotheses(written(tmp_path, change))


def test_files_that_hold_none(tmp_path: Path) -> None:
    file = tmp_path / "hypotheses.yaml"
    with pytest.raises(MissingFileError, match="check the path"):
        load_hypotheses(file)
    file.write_text("hypotheses: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_hypotheses(file)
    file.write_text("name: study")
    with pytest.raises(ConfigError, match="has no list 'hypotheses:'"):
        load_hypotheses(file)
    with pytest.raises(ConfigError, match="holds H1 twice"):
        load_hypotheses(written(tmp_path, {}, {}))


def told(grid: dict[str, list[Any]], *changed: dict[str, Any]) -> dict[str, str]:
    """Names of the hypotheses, H1 changed, that a study of a grid cannot test, with the reason for each."""
    study = StudyConfig.model_validate({"grid": grid, "evaluation": {"attacks": [{"name": "pgd", "eps": ["4/255"]}]}})
    runs = [cell.config for cell in cells_of(study, data_digest="")]
    return untestable([Hypothesis.model_validate(GOOD | {"name": f"h{i}"} | c) for i, c in enumerate(changed)], runs)


def test_what_a_grid_cannot_test() -> None:
    heads = {"model.head": ["bernoulli", "beta"]}
    conditions: tuple[dict[str, Any], ...] = ({}, {"condition": "clean"}, {"condition": "pgd", "eps": "4/255"})
    assert told(heads, *conditions) == {}
    assert told({"model.head": ["beta"]}, *conditions) == dict.fromkeys(
        ["h0", "h1", "h2"], "no run has model.head=bernoulli"
    )
    assert told(heads, {"condition": "fgsm"}, {"eps": "8/255"}, {"condition": "clean", "eps": 1}) == {
        "h0": "fgsm is not among the conditions measured",
        "h1": "an attack at 8/255 is not among the conditions measured",
    }


def test_a_value_that_a_study_takes_can_be_tested(tmp_path: Path) -> None:
    """Budgets below one grey level, written as fractions: in the grid as in the hypothesis."""
    sides = {name: {"adversarial.eps": eps} for name, eps in (("first", "0.5/255"), ("second", "4/255"))}
    claim = Hypothesis.model_validate(GOOD | sides | {"condition": "clean"})
    require_hypotheses([claim], where=tmp_path)
    study = StudyConfig.model_validate({"grid": {"adversarial.eps": ["0.5/255", "4/255"]}})
    assert untestable([claim], [cell.config for cell in cells_of(study, data_digest="")]) == {}


def test_sides_that_never_agree_in_the_rest_cannot_be_tested() -> None:
    study = StudyConfig.model_validate(
        {"grid": [{"model.head": ["beta"], "training.epochs": [3]}, {"model.head": ["bernoulli"]}]}
    )
    runs = [cell.config for cell in cells_of(study, data_digest="")]
    found = untestable([Hypothesis.model_validate(GOOD | {"condition": "clean"})], runs)
    assert found == {"H1": "its two sides differ in other settings, too"}


def test_settings_are_compared_as_what_they_are() -> None:
    config = {"model": {"head": "beta"}, "adversarial": {"fraction": 0.25, "eps": 4 / 255}}
    assert settings_match(config, {"model.head": "beta", "adversarial.fraction": 0.25})
    assert settings_match(config, {"adversarial.eps": "4/255"})
    assert not settings_match(config, {"adversarial.eps": "8/255"})
    assert settings_match({"adversarial": {"eps": 0.5 / 255}}, {"adversarial.eps": "0.5/255"})
    assert not settings_match(config, {"adversarial.eps": "0.5/255"})
    assert not settings_match(config, {"adversarial.eps": "4/0"})
    assert settings_match({"data": {"path": "4/255"}}, {"data.path": "4/255"})  # a folder
    assert not settings_match(config, {"adversarial.fraction": 0.5})
    assert not settings_match(config, {"model.heads": "beta"})
    assert setting(config, "model.head.name") is None


def test_a_run_of_an_older_version_had_the_defaults_of_later_keys() -> None:
    claim = Hypothesis.model_validate(GOOD | {"condition": "clean"})
    now = RunConfig().model_dump(mode="json")
    before = {**now, "training": {key: value for key, value in now["training"].items() if key != "noise"}}
    assert other_settings(before, claim) == other_settings(now, claim)
    noisy = {**now, "training": {**now["training"], "noise": 0.25}}
    assert other_settings(before, claim) != other_settings(noisy, claim)
