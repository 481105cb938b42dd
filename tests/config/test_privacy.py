"""What settings and commands show to others: of each path its last name, however it is written."""

import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from trustseg.config import StudyConfig, load_study
from trustseg.config.keys import annotation_of, known_keys
from trustseg.config.privacy import command_without_folders, settings_digest, settings_without_folders, without_paths_of

PRIVATE = [
    "/home/anna/films",
    "/home/anna/films/",
    "/home/anna/films//",
    "../anna/films",
    "./anna/films",
    "anna/films",
    "~/anna/films",
    r"C:\anna\films",
    "/home/anna \u00fc/a: b #c/films",
    "/home/anna\n/films",
    "'/home/anna'/films",
]
WAYS = [
    "data.path={}",
    "model.weights={}",
    "evaluation.surrogate={}",
    "evaluation.populations.icu={}",
    "-o{}",
    "--output={}",
    "{}",
    "unknown.key={}",
]


@pytest.mark.parametrize("path", PRIVATE)
def test_a_command_shows_last_names(path: str) -> None:
    for way in WAYS:
        shown = command_without_folders(["/home/anna/bin/trustseg", "train", way.format(path)])
        assert shlex.split(shown) == ["trustseg", "train", way.format("films")]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("evaluation.populations={icu: /home/anna/films}", "evaluation.populations={icu: films}"),
        ("data={path: /home/anna/films, size: 64}", "data={path: films, size: 64}"),
        ("grid.data.path=[/home/anna/films, b]", "grid.data.path=[films, b]"),
        ("grid=[{data.path: [/home/anna/films]}]", "grid=[{data.path: [films]}]"),
        ("adversarial.eps=4/255", "adversarial.eps=4/255"),
        ("evaluation.attacks=[{name: fgsm, eps: [1/255]}]", "evaluation.attacks=[{name: fgsm, eps: [1/255]}]"),
        ("adversarial.attack={name: pgd, step_size: 1/255}", "adversarial.attack={name: pgd, step_size: 1/255}"),
        ("grid=[{loss.beta: [{name: x, power: 1/3}]}]", "grid=[{loss.beta: [{name: x, power: 1/3}]}]"),
        ("evaluation.populations={icu: /home/anna/films", "evaluation.populations=..."),
        (str(Path.home()), "~"),
    ],
)
def test_a_command_with_lists_and_maps(word: str, shown: str) -> None:
    assert shlex.split(command_without_folders([word])) == [shown]


@pytest.mark.parametrize("path", PRIVATE)
def test_a_study_shows_last_names(tmp_path: Path, path: str) -> None:
    """However YAML folds or quotes them; everything else is shown as it is."""
    content = {
        "data": {"path": path},
        "model": {"weights": path},
        "evaluation": {"populations": {"icu": path}, "surrogate": path},
        "grid": [{"data.path": [path, path], "adversarial.eps": ["4/255"]}],
        "unknown": {"key": path},
    }
    shown = settings_without_folders(content)
    assert shown["grid"] == [{"data.path": ["films", "films"], "adversarial.eps": ["4/255"]}]
    assert str(shown).count("films") == 7
    assert "anna" not in str(shown)
    del content["unknown"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, width=10), encoding="utf-8")
    study = load_study(tmp_path / "study.yaml")
    assert study.data.path == path
    assert "anna" not in str(settings_without_folders(study.model_dump(mode="json")))


def test_fractions_among_options_count() -> None:
    """They are no paths, so that two studies with other options have other digests."""
    digests = [
        settings_digest({"evaluation": {"attacks": [{"name": "pgd", "eps": [0.1], "step_size": size}]}})
        for size in ("1/255", "2/255")
    ]
    assert digests[0] != digests[1]


def test_without_paths_nothing_is_cut() -> None:
    content = StudyConfig().model_dump(mode="json")
    assert settings_without_folders(content) == content


def test_every_path_of_the_schema_is_declared_as_one() -> None:
    """Keys whose meaning speaks of a folder or a file are of the type of paths."""
    found = set()
    for key in known_keys(StudyConfig):
        section: type[BaseModel] = StudyConfig
        *above, name = key.split(".")
        for part in above:
            inner = section.model_fields[part].annotation
            if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
                break
            section = inner
        else:
            words = (section.model_fields[name].description or "").replace(",", " ").split()
            if {"folder", "file", "pack"} & set(words):
                found.add(key)
    assert {"data.path", "model.weights", "evaluation.populations", "evaluation.surrogate"} <= found
    assert {key for key in found if "'path'" not in str(annotation_of(StudyConfig, key))} <= {
        "data.residence",
        "training.logger",
        "name",
    }


@settings(deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1))
def test_an_error_shows_no_folder_of_the_settings(folder: str) -> None:
    path = f"/secret/{folder}/films"
    assert "secret" not in without_paths_of({"data": {"path": path}}, f"cannot read '{path}/a.png'")
