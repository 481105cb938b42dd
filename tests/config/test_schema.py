"""Values and names of a configuration: what is taken, and what a wrong one is told."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.config.given import refusal, value_at, written

from trustseg.attacks import ATTACKS, OBJECTIVES
from trustseg.config import (
    RunConfig,
    load_run,
)
from trustseg.errors import ConfigError
from trustseg.losses import DATA_TERMS
from trustseg.models import ARCHITECTURES
from trustseg.selection import SELECTIONS
from trustseg.uncertainty import AGGREGATIONS, MEASURES
from trustseg.uncertainty.aggregation import PATTERNS


def test_defaults_need_no_file() -> None:
    assert load_run(None) == RunConfig()


def test_overrides_win_over_the_file_in_their_order(tmp_path: Path) -> None:
    file = written(tmp_path, "training: {epochs: 3, batch_size: 2}\n")
    run = load_run(file, ["training.epochs=4", "training.epochs=5", "adversarial.measure.beta=vacuity"])
    assert (run.training.epochs, run.training.batch_size) == (5, 2)
    assert run.adversarial.measure.beta == "vacuity"


@pytest.mark.parametrize(
    ("text", "value"),
    [("4/255", 4 / 255), ("4 / 255", 4 / 255), ("0", 0.0), ("0.25", 0.25), ("1e-3", 0.001), ("255/255", 1.0)],
)
def test_a_budget_may_be_a_fraction(text: str, value: float) -> None:
    assert load_run(None, [f"adversarial.eps={text}"]).adversarial.eps == value


@pytest.mark.parametrize("text", ["4/0", "a/b", "4/255/2", "-1/255", "300/255", ".nan", ".inf", "1e999/1", "null", ""])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    assert "adversarial.eps" in refusal(f"adversarial.eps={text}")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs=many", "got training.epochs=many; an integer >= 1 was expected; set for example training"),
        ("training.epochs=2.5", "training.epochs=2.5"),
        ("training.epochs=0", "got training.epochs=0; an integer >= 1 was expected"),
        ("training.epochs=yes", "got training.epochs=true; an integer >= 1"),
        ("training.learning_rate=off", "got training.learning_rate=false; a number > 0 was expected"),
        ("training.learning_rate=-1", "training.learning_rate=-1"),
        ("training.learning_rate=.nan", "got training.learning_rate=nan; a number > 0 was expected"),
        ("training.augment=perhaps", "got training.augment=perhaps; true or false was expected"),
        ("data.channels=2", "got data.channels=2; 1 or 3 was expected"),
        ("data.channels=true", "got data.channels=true; 1 or 3 was expected"),
        ("data.size=31", "data.size=31"),
        ("data.fold=5", "fold 5 does not exist among 5 folds (0 to 4)"),
        ("data.path=[1]", "data.path=[1]"),
        ("model.head=gauss", "got model.head=gauss; bernoulli or beta was expected; set model.head to one of these"),
        ("model.head=betta", "bernoulli or beta was expected; did you mean beta?"),
        ("adversarial.eps=8", "write adversarial.eps=8/255 for 8 grey levels"),
        ("adversarial.eps=-1", "got adversarial.eps=-1; a number or fraction >= 0, <= 1 was expected"),
        ("training.accelerator=quantum", "training.accelerator"),
        ("data=3", "got data=3; a section with the keys path, size, channels,"),
        ("data=null", "got data=null; a section with the keys path,"),
        ("evaluation.measures=entropy", "was expected; write evaluation.measures=[entropy]"),
        ("evaluation.measures=[3]", "got evaluation.measures.0=3; entropy, variance,"),
        ("evaluation.attacks=pgd", "a list of sections with the keys name, eps,"),
        ("evaluation.attacks=pgd", "write for example evaluation.attacks=[{name: pgd, eps: [4/255]}]"),
        ("evaluation.attacks=[{name: pgd, eps: 4/255}]", ">= 0, or fractions was expected; write eps: [4/255]"),
        ("evaluation.attacks=[{eps: [1/255]}]", "evaluation.attacks.0.name is missing"),
        ("evaluation.attacks=[{name: pgd, eps: [-1]}]", "got evaluation.attacks.0.eps.0=-1; a number >= 0"),
        ("evaluation.attacks=[{name: pgd, eps: []}]", "got evaluation.attacks.0.eps=[]; a list of numbers"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(override: str, words: str) -> None:
    assert words in refusal(override)


@pytest.mark.parametrize("key", ["evaluation.minimal.eps=[-1]", "evaluation.attacks=[{name: pgd, eps: [4/255, -1]}]"])
def test_a_list_is_not_blamed_for_its_item_once_more(key: str) -> None:
    assert refusal(key).count("got ") == 1


def test_all_findings_are_told_at_once() -> None:
    message = refusal("training.epochs=0", "data.size=1", "model.hed=beta")
    assert all(key in message for key in ("training.epochs", "data.size", "model.hed"))


def test_a_configuration_is_frozen() -> None:
    run = RunConfig()
    with pytest.raises(ValidationError):
        run.training.epochs = 3  # type: ignore[misc]  # the mistake under test


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("modell.head=beta", "'modell'; did you mean 'model'?"),
        ("model.hed=beta", "'model.hed'; did you mean 'model.head'?"),
        ("adversarial.measure.bata=vacuity", "did you mean 'adversarial.measure.beta'?"),
        ("epochs=3", "'epochs'; did you mean 'training.epochs'?"),
        ("model.epochs=3", "'model.epochs'; did you mean 'training.epochs'?"),
        ("batch_size=3", "did you mean 'training.batch_size' or 'evaluation.batch_size'?"),
        ("evaluation.attacks=[{name: pgd, eps: [0.1], step: 3}]", "did you mean 'evaluation.attacks.steps'?"),
        ("zzz=1", "known sections: data, model, loss, adversarial, training, evaluation"),
        ("=1", "unknown key ''"),
        ("grid.model.head=[beta]", "unknown key 'grid'"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, hint: str) -> None:
    assert hint in refusal(override)


def test_an_unknown_key_in_a_file_names_the_file_too(tmp_path: Path) -> None:
    file = written(tmp_path, "adversarial: {measure: {bata: vacuity}}\n")
    with pytest.raises(ConfigError, match=r"study\.yaml: unknown key 'adversarial\.measure\.bata'; did you mean"):
        load_run(file)


NAMES = {
    "model.architecture": ARCHITECTURES,
    "loss.beta": DATA_TERMS,
    "adversarial.selection": ["none", *SELECTIONS],
    "adversarial.attack": ATTACKS,
    "adversarial.objective": OBJECTIVES,
    "adversarial.measure.bernoulli": ["entropy", "variance"],
    "adversarial.measure.beta": MEASURES,
    "adversarial.aggregation": [name for name in AGGREGATIONS if name not in PATTERNS],
}


@pytest.mark.parametrize("key", NAMES)
def test_every_known_name_is_accepted_and_no_other(key: str) -> None:
    for name in NAMES[key]:
        settings = [f"{key}={name}", *(["adversarial.measure.beta=vacuity"] if name == "count_above" else [])]
        assert value_at(load_run(None, settings).model_dump(), key) == name
    message = refusal(f"{key}=nonsense")
    assert f"unknown value of {key} 'nonsense'" in message
    assert all(name in message for name in NAMES[key])


def test_a_name_nearly_right_gets_a_hint() -> None:
    assert "did you mean 'unet'?" in refusal("model.architecture=unit")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluation.attacks=[{name: pdg, eps: [0.1]}]", "did you mean 'pgd'?"),
        ("evaluation.attacks=[{name: pgd, eps: [0.1], objective: margni}]", "did you mean 'margin'?"),
        ("evaluation.measures=[entropi]", "did you mean 'entropy'?"),
        ("evaluation.aggregations=[men]", "did you mean 'mean'?"),
    ],
)
def test_names_in_lists_are_checked_too(override: str, words: str) -> None:
    assert words in refusal(override)
