"""Who lends whom its adversarial images follows from the plan alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.study.small import described
from tests.training.tiny import use_tiny_networks

from trustseg.errors import MissingFileError
from trustseg.files import write_json, write_text
from trustseg.models import build_segmenter
from trustseg.study import cell as module
from trustseg.study.cell import claimed
from trustseg.study.surrogates import awaiting_surrogate, given_surrogate, surrogate_for
from trustseg.study.worker import work

PLAN = ["hard", "uncertain", "none", "bernoulli", "seed1", "fold2", "large", "mixture"]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan of cells without models; a model, where one is trained, is its folder."""
    special: dict[str, dict[str, Any]] = {
        "hard": {"selection": "hard"},
        "uncertain": {"selection": "uncertain"},
        "bernoulli": {"head": "bernoulli"},
        "seed1": {"seed": 1},
        "fold2": {"fold": 2},
        "large": {"values": {"data.size": 256}},
        "mixture": {"mixture": {"members": ["none"], "samples": 0, "dropout": 0.0}},
    }
    write_json(tmp_path / "plan.json", {"cells": PLAN})
    for name in PLAN:
        described(tmp_path / "cells" / name, **special.get(name, {}))
    monkeypatch.setattr("trustseg.study.surrogates.Segmenter.load", lambda folder: folder)
    return tmp_path


def train(study: Path, names: Sequence[str] = PLAN) -> None:
    for name in names:
        write_json(study / "cells" / name / "model" / "model.json", {})


@pytest.mark.parametrize(
    ("cell", "peer"),
    [
        ("hard", "none"),  # same head, same seed, undefended
        ("uncertain", "none"),
        ("none", "hard"),  # the first of the plan with its head
        ("bernoulli", "none"),  # of another head, undefended
        ("seed1", "none"),
        ("fold2", None),
        ("large", None),
        ("mixture", "hard"),  # its own member, none, lends it nothing
    ],
)
def test_each_cell_has_one_peer(study: Path, cell: str, peer: str | None) -> None:
    train(study)
    found = surrogate_for(study / "cells" / cell)
    assert (found.name if found else None) == peer
    if found:
        assert found.model == study / "cells" / str(peer) / "model"  # type: ignore[comparison-overlap]  # a stand-in


def test_what_is_trained_first_changes_nothing(study: Path) -> None:
    train(study, ["uncertain", "bernoulli"])
    assert surrogate_for(study / "cells" / "hard") is None  # not the second best
    train(study, ["none"])
    found = surrogate_for(study / "cells" / "hard")
    assert found is not None
    assert found.name == "none"


def test_checks_wait_for_the_model_they_borrow_from(study: Path) -> None:
    hard = study / "cells" / "hard"
    write_json(hard / "masking_checks.json", {"surrogate": None})
    train(study, ["none"])
    assert awaiting_surrogate(study) == []  # it is not done itself
    write_json(hard / "done.json", {})
    assert awaiting_surrogate(study) == [hard]
    write_json(hard / "masking_checks.json", {"surrogate": {"name": "none", "model": "0"}})
    assert awaiting_surrogate(study) == []


def test_nothing_is_awaited_that_never_comes(study: Path) -> None:
    for name in ("fold2", "hard"):
        write_json(study / "cells" / name / "masking_checks.json", {"surrogate": None})
        write_json(study / "cells" / name / "done.json", {})
    train(study, ["fold2", "hard"])
    assert awaiting_surrogate(study) == []  # fold2 is alone, and the model for hard is not there


def test_a_cell_outside_a_study_has_no_peer(tmp_path: Path) -> None:
    described(tmp_path / "alone")
    assert surrogate_for(tmp_path / "alone") is None


def test_a_given_model_goes_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch)
    segmenter = build_segmenter(architecture="unet", encoder="resnet18", head="beta", size=32)
    segmenter.save(tmp_path / "undefended" / "model")
    segmenter.save(tmp_path / "bare")
    for given, name in (("undefended/model", "undefended"), ("bare", "bare")):
        found = surrogate_for(tmp_path / "cell", str(tmp_path / given))
        assert found is not None
        assert found.name == name
        assert found.model.weights() == segmenter.weights()
    with pytest.raises(MissingFileError, match="nowhere"):
        given_surrogate(str(tmp_path / "nowhere"))


def test_a_worker_completes_the_checks_of_finished_cells(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(study)
    for name in PLAN:
        write_json(study / "cells" / name / "done.json", {})
    for name in ("hard", "none"):
        write_json(study / "cells" / name / "masking_checks.json", {"surrogate": None})
        write_text(study / "cells" / name / "config.yaml", "data: {path: nowhere}\n")
    checked = []

    def check_again(folder: Path, config: object, pack: object) -> None:
        checked.append(folder.name)
        if folder.name == "hard":
            raise MemoryError

    monkeypatch.setattr("trustseg.data.open_dataset", lambda *args, **options: None)
    monkeypatch.setattr(module, "check_again", check_again)
    work(study, only=[])
    assert checked == ["hard", "none"]  # one that breaks does not stop the others
    assert (study / "cells" / "hard" / "done.json").exists()
    with claimed(study / "cells" / "none"):
        work(study, only=[])
    assert checked == ["hard", "none", "hard"]
