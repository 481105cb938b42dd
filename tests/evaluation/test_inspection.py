"""Checks are kept beside the records: not repeated, and completed when there is a model to borrow from."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluation.packs import pack_of, small_segmenter
from torch import Tensor

from trustseg.errors import ModelError
from trustseg.evaluation import Surrogate, inspection, write_masking_checks
from trustseg.evaluation.masking_checks import CHECKS
from trustseg.evaluation.victim import MaskingCheck

ROWS = np.array([0, 1, 2, 4], dtype=np.int64)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let no check compute anything; returns the names that each call asked for."""
    calls: list[list[str]] = []

    def stand_in(
        model: object, images: Tensor, masks: Tensor, *, surrogate: object, only: Collection[str], **options: object
    ) -> list[MaskingCheck]:
        assert images.shape == (2, 1, 32, 32)
        calls.append([*only])
        lacking = {"transfer"} if surrogate is None else set()
        return [MaskingCheck(name, "not_run" if name in lacking else "ok", 0.0, 1.0, "said") for name in only]

    monkeypatch.setattr(inspection, "masking_checks", stand_in)
    return calls


def write(folder: Path, surrogate: Surrogate | None = None, *, seed: int = 0) -> dict[str, Any]:
    write_masking_checks(small_segmenter(), pack_of(), ROWS, folder, count=2, seed=seed, surrogate=surrogate)
    content: dict[str, Any] = json.loads((folder / "masking_checks.json").read_text())
    return content


def test_a_surrogate_completes_what_was_checked_without_one(tmp_path: Path, asked: list[list[str]]) -> None:
    first = write(tmp_path)
    assert first["surrogate"] is None
    assert {check["name"] for check in first["checks"] if check["status"] == "not_run"} == {"transfer"}
    other = Surrogate("the undefended one", small_segmenter(seed=1))
    second = write(tmp_path, other)
    assert asked == [[*CHECKS], ["transfer"]]
    assert second["surrogate"]["name"] == "the undefended one"
    assert [check["name"] for check in second["checks"]] == [*CHECKS]
    assert {check["status"] for check in second["checks"]} == {"ok"}
    assert write(tmp_path, other) == second
    assert len(asked) == 2


def test_checks_under_the_former_name_are_not_repeated(tmp_path: Path, asked: list[list[str]]) -> None:
    first = write(tmp_path)
    (tmp_path / "masking_checks.json").rename(tmp_path / "suspicions.json")
    other = Surrogate("the undefended one", small_segmenter(seed=1))
    assert [check["name"] for check in write(tmp_path, other)["checks"]] == [check["name"] for check in first["checks"]]
    assert asked == [[*CHECKS], ["transfer"]]


def test_the_order_of_surrogates_does_not_matter(tmp_path: Path, asked: list[list[str]]) -> None:
    lender, other = (Surrogate(f"seed {seed}", small_segmenter(seed=seed)) for seed in (1, 2))
    write(tmp_path / "a", other)
    assert write(tmp_path / "a", lender) == write(tmp_path / "b", lender)


def test_other_images_or_seeds_are_checked_anew(tmp_path: Path, asked: list[list[str]]) -> None:
    write(tmp_path)
    write(tmp_path, seed=1)
    assert asked == [[*CHECKS], [*CHECKS]]


def test_a_surrogate_for_other_images_is_refused(tmp_path: Path, asked: list[list[str]]) -> None:
    with pytest.raises(ModelError, match=r"the surrogate big takes images of 64 px .* 32 px"):
        write(tmp_path, Surrogate("big", small_segmenter(size=64)))
    assert asked == []


def test_the_pass_that_is_attacked_is_the_one_that_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: CHECKS[name] for name in ("attack_forward", "repeated_forward")}
    for module in ("inspection", "masking_checks"):
        monkeypatch.setattr(f"trustseg.evaluation.{module}.CHECKS", few)
    model = small_segmenter()
    write_masking_checks(model.train(), pack_of(), ROWS, tmp_path, count=2)
    found = {check["name"]: check for check in json.loads((tmp_path / "masking_checks.json").read_text())["checks"]}
    assert found["attack_forward"]["status"] == "ok"
    assert 0 <= found["attack_forward"]["figure"] < 1e-5  # folded batch normalisation rounds a little
    assert torch.isfinite(torch.tensor(found["repeated_forward"]["figure"]))
