"""Any setting is taken or refused in a sentence; text stays text, whatever YAML would make of it."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.config.given import leaves, refusal, written

from trustseg.config import RunConfig, load_run, load_study
from trustseg.errors import ConfigError, UnknownNameError

TEXTS = [
    *("a #b", "on", "null ", "~", "123", "1e3", "2024-01-01", "2024-13-45", "yes", "0x10", "0x_", "'a'", '"a: b"'),
    *("a: b", "[a]", "{a: b}", "*x", "&x", "!!int abc", "a*?[1]", "$HOME", "~/x", "-x", "%41", "a\nb", "a/", "\u00fc"),
    *("a=b", "- a", "no", "./null"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_taken_as_it_stands(text: str) -> None:
    run = load_run(None, [f"data.path={text}", f"evaluation.populations.icu={text}"])
    assert run.data.path == text
    assert run.evaluation.populations == {"icu": text}


def test_only_null_means_none_and_lists_and_maps_of_text_hold_text(tmp_path: Path) -> None:
    run = load_run(None, ["data.path=null", "evaluation.populations={icu: 123, ward: on}"])
    assert run.data.path is None
    assert run.evaluation.populations == {"icu": "123", "ward": "on"}
    study = load_study(written(tmp_path, ""), ["grid.data.path=[on, null, 1e3]", "grid.training.seed=[0, 1]"])
    assert study.grid == ({"data.path": ("on", None, "1e3"), "training.seed": (0, 1)},)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.sampled_from(leaves(RunConfig)), st.text(max_size=20)),
    st.one_of(st.sampled_from([*TEXTS, "1e999999999/3", "9" * 5000, ".nan", "[" * 99, "-1", "{}", "[]"]), st.text()),
)
def test_any_setting_is_taken_or_refused_in_a_short_sentence(key: str, value: str) -> None:
    said = ""
    try:
        load_run(None, [f"{key}={value}"])
    except (ConfigError, UnknownNameError) as error:
        said = str(error)
    assert len(said) < 3000


@pytest.mark.parametrize(
    "text",
    [
        "adversarial: {eps: 1e999999999/3}",
        "training: {seed: 99999999999999999999}",
        "training: " + "[" * 30 + "]" * 30,
        "data: {path: 123}",
        "data: {path: {a: b}}",
        "data: {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}",
        "evaluation: {measures: [" + "entropy, " * 10_000 + "]}",
        "grid: {" + ", ".join(f"training.seed{i}: [0, 1, 2, 3]" for i in range(40)) + "}",
        "grid: {" + ".".join("a" * 3000) + ": [1]}",
        "x" * 1000 + ": 1",
    ],
    ids=lambda text: text[:30],
)
def test_files_are_refused_in_bounded_time(tmp_path: Path, text: str) -> None:
    since = time.process_time()
    refusal(study=written(tmp_path, text))
    assert time.process_time() - since < 20
