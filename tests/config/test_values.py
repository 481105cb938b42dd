"""One key and its value: what a run may hold, and a sentence for what it may not."""

import re

import pytest

from trustseg.config.values import require_value
from trustseg.errors import ConfigError, TrustsegError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.head", "beta"),
        ("adversarial.selection", "threshold"),  # which needs a threshold, but that is another key
        ("adversarial.eps", "4/255"),
        ("adversarial.threshold", None),
        ("adversarial.alignment.one_sided", True),
        ("evaluation.shifts", ["all"]),
    ],
)
def test_what_a_run_may_hold(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}s'"):
        require_value(f"{key}s", value, where="here")
    assert require_value(key, value, where="here") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.haed", "beta", "here: unknown key 'model.haed'; did you mean 'model.head'?"),
        ("model.head.name", "beta", "here: unknown key 'model.head.name'"),
        ("", "beta", "here: unknown key ''"),
        ("model.head", "betta", "model.head=betta: expected bernoulli | beta; did you mean beta?"),
        ("adversarial.fraction", 2, "adversarial.fraction=2: expected number > 0, <= 1"),
        ("adversarial.selection", "unsure", "unknown value of adversarial.selection 'unsure'"),
        ("training.epochs", "many", "here: training.epochs=many"),
    ],
)
def test_what_it_may_not(key: str, value: object, words: str) -> None:
    with pytest.raises(TrustsegError, match=re.escape(words)):
        require_value(key, value, where="here")
