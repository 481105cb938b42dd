"""What does not fit a configuration, in words."""

from pathlib import Path

import pytest
from tests.config.given import refusal, written

from trustseg.config import (
    load_run,
)
from trustseg.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs=many", "training.epochs=many: expected integer >= 1; the default is"),
        ("training.epochs=2.5", "training.epochs=2.5"),
        ("training.epochs=0", "training.epochs=0: expected integer >= 1"),
        ("training.epochs=yes", "training.epochs=true: expected integer >= 1"),
        ("training.learning_rate=off", "training.learning_rate=false: expected number > 0"),
        ("training.learning_rate=-1", "training.learning_rate=-1"),
        ("training.learning_rate=.nan", "training.learning_rate=nan: expected number > 0"),
        ("training.augment=perhaps", "training.augment=perhaps: expected true | false"),
        ("data.channels=2", "data.channels=2: expected 1 | 3"),
        ("data.channels=true", "data.channels=true: expected 1 | 3"),
        ("data.size=31", "data.size=31"),
        ("data.fold=5", "fold 5 does not exist among 5 folds (0 to 4)"),
        ("model.head=gauss", "model.head=gauss: expected bernoulli | beta; the default is bernoulli"),
        ("model.head=betta", "expected bernoulli | beta; did you mean beta?"),
        ("adversarial.eps=8", "write adversarial.eps=8/255 for 8 grey levels"),
        ("adversarial.eps=-1", "adversarial.eps=-1: expected number or fraction >= 0, <= 1"),
        ("training.accelerator=quantum", "training.accelerator"),
        ("data=3", "data=3: expected section with the keys path, masks, controls,"),
        ("data=null", "data=null: expected section with the keys path,"),
        ("evaluation.measures=entropy", "write evaluation.measures=[entropy]"),
        ("evaluation.measures=[[3]]", "evaluation.measures.0=['3']: expected entropy | variance |"),
        ("evaluation.attacks=pgd", "list of sections with the keys name, eps,"),
        ("evaluation.attacks=pgd", "write for example evaluation.attacks=[{name: pgd, eps: [4/255]}]"),
        ("evaluation.attacks=[{name: pgd, eps: 4/255}]", ">= 0, or fractions; write eps: [4/255]"),
        ("evaluation.attacks=[{eps: [1/255]}]", "evaluation.attacks.0.name is missing"),
        ("evaluation.attacks=[{name: pgd, eps: [-1]}]", "evaluation.attacks.0.eps.0=-1: expected numbers >= 0"),
        ("evaluation.attacks=[{name: pgd, eps: []}]", "evaluation.attacks.0.eps=[]: expected list of numbers"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(override: str, words: str) -> None:
    assert words in refusal(override)


@pytest.mark.parametrize("key", ["evaluation.minimal.eps=[-1]", "evaluation.attacks=[{name: pgd, eps: [4/255, -1]}]"])
def test_a_list_is_not_blamed_for_its_item_once_more(key: str) -> None:
    assert refusal(key).count("expected ") == 1


def test_all_findings_are_told_at_once() -> None:
    message = refusal("training.epochs=0", "data.size=1", "model.hed=beta")
    assert all(key in message for key in ("training.epochs", "data.size", "model.hed"))


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("modell.head=beta", "'modell'; did you mean 'model'?"),
        ("model.hed=beta", "'model.hed'; did you mean 'model.head'?"),
        ("adversarial.measure.bata=vacuity", "did you mean 'adversarial.measure.beta'?"),
        ("epochs=3", "'epochs'; did you mean 'training.epochs'?"),
        ("model.epochs=3", "'model.epochs'; did you mean 'training.epochs'?"),
        ("batch_size=3", "did you mean 'training.batch_size' or 'evaluation.batch_size'?"),
        ("evaluation.attacks=[{name: pgd, eps: [0.1], step: 3}]", "did you mean 'steps'?"),
        ("evaluation.attacks=[{name: pgd, epss: [0.1]}]", "'epss'; did you mean 'eps'?"),
        ("training.lr=1", "did you mean 'training.learning_rate'?"),
        ("lr=1", "did you mean 'training.learning_rate'?"),
        ("training.wd=1", "did you mean 'training.weight_decay'?"),
        ("training.max_epochs=1", "did you mean 'training.epochs'?"),
        ("training.num_epochs=1", "did you mean 'training.epochs'?"),
        ("training.batch=1", "did you mean 'training.batch_size'?"),
        ("training.batchsize=1", "did you mean 'training.batch_size'?"),
        ("training.learning-rate=1", "did you mean 'training.learning_rate'?"),
        ("adversarial.epsilon=1", "did you mean 'adversarial.eps'?"),
        ("model.backbone=x", "did you mean 'model.encoder'?"),
        ("model.arch=x", "did you mean 'model.architecture'?"),
        ("data.image_size=1", "did you mean 'data.size'?"),
        ("data.root=x", "did you mean 'data.path'?"),
        ("zzz=1", "known sections: data, model, loss, adversarial, training, evaluation"),
        ("=1", "unknown key ''"),
        ("grid.model.head=[beta]", "unknown key 'grid'"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, hint: str) -> None:
    assert hint in refusal(override)


@pytest.mark.parametrize("value", ["on", "123", "1e3.0", "null_", "0x10", "~", "no"])
def test_a_text_that_yaml_reads_otherwise_is_refused_in_files_and_taken_on_the_command_line(
    tmp_path: Path, value: str
) -> None:
    assert load_run(None, [f"data.path={value}"]).data.path == value
    file = written(tmp_path, f"data: {{path: {value}}}\n")
    if value in ("on", "123", "0x10", "no"):
        with pytest.raises(ConfigError, match=r"study\.yaml.*quote"):
            load_run(file)
    assert load_run(written(tmp_path, f"data: {{path: '{value}'}}\n")).data.path == value


def test_an_unknown_key_in_a_file_names_the_file_too(tmp_path: Path) -> None:
    file = written(tmp_path, "adversarial: {measure: {bata: vacuity}}\n")
    with pytest.raises(ConfigError, match=r"study\.yaml: unknown key 'adversarial\.measure\.bata'; did you mean"):
        load_run(file)
