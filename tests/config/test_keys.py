"""The list of keys says what may be typed."""

from inspect import signature

import pytest
from tests.config.given import leaves

from trustseg.config import AttackConfig, RunConfig, StudyConfig, describe_keys, describe_options, load_run
from trustseg.data import open_dataset, split_cases, write_phantoms
from trustseg.data.check import check_dataset
from trustseg.deferral import fit_policy
from trustseg.losses import segmentation_loss
from trustseg.models import build_segmenter


def test_every_key_and_option_is_described() -> None:
    rows = list(describe_keys())
    keys = [key for key, *_ in rows]
    assert len(set(keys)) == len(keys)
    assert set(leaves(StudyConfig)) <= set(keys)
    assert {f"evaluation.attacks.{name}" for name in AttackConfig.model_fields} <= set(keys)
    assert [row for row in (*rows, *describe_options()) if not all(row)] == []


def test_the_defaults_shown_can_be_typed() -> None:
    """Every scalar default, written as shown, gives the default."""
    shown = {key: default for key, default, *_ in describe_keys()}
    for key in leaves(RunConfig):
        default = f"[{shown[key]}]" if ", " in shown[key] else shown[key]
        if key not in ("evaluation.attacks", "evaluation.minimal.eps"):  # of which a shorter form is shown
            assert load_run(None, [f"{key}={default}"]) == RunConfig(), key


@pytest.mark.parametrize(
    ("key", "default", "allowed"),
    [
        ("data.size", "224", "integer >= 32, <= 2048"),
        ("data.validation_fraction", "0.2", "number > 0, < 1"),
        ("data.fold", "null", "integer >= 0 or null"),
        ("adversarial.eps", "4/255", "number or fraction >= 0, <= 1"),
        ("training.deterministic", "true", "true | false"),
        ("model.head", "bernoulli", "bernoulli | beta"),
        ("loss.bernoulli", "binary_cross_entropy", "binary_cross_entropy | focal_cross_entropy"),
        ("evaluation.attacks.eps", "required", "list, each: number or fraction >= 0"),
        ("evaluation.severities", "1, 3, 5", "list, each: integer >= 1, <= 5"),
    ],
)
def test_keys_are_described_in_words(key: str, default: str, allowed: str) -> None:
    assert next(row for row in describe_keys() if row[0] == key)[1:3] == (default, allowed)


def test_defaults_are_those_of_the_functions_that_take_them() -> None:
    usual = StudyConfig()
    takers = {
        usual.data: (split_cases, open_dataset, check_dataset, build_segmenter),
        usual.model: (build_segmenter,),
        usual.loss: (segmentation_loss,),
        usual.evaluation.deferral: (fit_policy,),
        usual.phantoms: (write_phantoms,),
    }
    others = set()
    for section, functions in takers.items():
        for function in functions:
            for name, parameter in signature(function).parameters.items():
                default = parameter.default
                if name in type(section).model_fields and default not in (parameter.empty, getattr(section, name)):
                    others.add((function, name))
    # A pack has a size of its own; a model without a run had softplus first.
    assert others == {(open_dataset, "size"), (build_segmenter, "evidence")}
