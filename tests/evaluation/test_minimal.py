"""The table of smallest budgets: what the attack found, image by image, whatever interrupts it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.evaluation.packs import pack_of, small_segmenter

from trustseg.attacks import minimal_eps
from trustseg.attacks.minimal import Bracket
from trustseg.beliefs import Bernoulli
from trustseg.config import EvaluationConfig, MinimalConfig
from trustseg.errors import AttackError
from trustseg.evaluation import minimal, write_minimal
from trustseg.models.inference import fast_forward

ROWS = np.array([0, 2, 4, 5, 6], dtype=np.int64)  # 5 has an empty mask, 6 a full one
OPTIONS = MinimalConfig(tau=0.3, eps=(1 / 255, 16 / 255, 0.5), steps=2, halvings=1)
CONFIG = EvaluationConfig(attacks=(), minimal=OPTIONS, batch_size=2)


def write(folder: Path, config: EvaluationConfig = CONFIG, *, head: str = "beta") -> pl.DataFrame:
    write_minimal(small_segmenter(head), pack_of(), ROWS, config, folder)
    return pl.read_parquet(folder / "minimal.parquet")


@pytest.mark.parametrize("head", ["beta", "bernoulli"])
def test_brackets_are_those_of_the_attack(tmp_path: Path, head: str) -> None:
    table, pack = write(tmp_path, head=head), pack_of()
    assert table["image"].to_list() == [f"image{row}" for row in ROWS]
    assert table["patient"].to_list() == pack.index["patient"].gather(ROWS.tolist()).to_list()
    assert table["mask_px"].to_list() == pack.masks[ROWS].sum(axis=(1, 2, 3)).tolist()
    assert table["tau"].unique().to_list() == [0.3]
    objectives = ["margin", "balanced_masked_cross_entropy", "soft_dice"]
    images, masks = (torch.from_numpy(part[ROWS].astype(np.float32)) for part in (pack.images, pack.masks))
    with fast_forward(small_segmenter(head).eval()) as fast:
        found = minimal_eps(
            fast,
            images / 255,
            masks,
            tau=0.3,
            ladder=OPTIONS.eps,
            steps=2,
            halvings=1,
            objectives=[*objectives, *(["evidence_margin"] if head == "beta" else [])],
        )
    assert table["eps_holds"].to_list() == pytest.approx(found.eps_holds.tolist())
    assert table["eps_breaks"].to_list() == pytest.approx(found.eps_breaks.tolist())
    assert table["already_broken"].to_list() == found.already_broken.tolist()
    assert table["censored"].to_list() == found.censored.tolist()
    assert (table["eps_breaks"].is_infinite() == table["censored"]).all()
    assert (table.filter("already_broken")["eps_breaks"] == 0).all()


def test_what_is_no_longer_asked_for_is_removed(tmp_path: Path) -> None:
    write_minimal(small_segmenter(), pack_of(), ROWS, CONFIG, tmp_path)
    (tmp_path / "minimal_parts" / "of a killed search").mkdir(parents=True)
    (tmp_path / "records.parquet").touch()
    assert {path.name for path in tmp_path.iterdir()} >= {"minimal.parquet", "minimal.json"}
    write_minimal(small_segmenter(), pack_of(), ROWS, EvaluationConfig(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["records.parquet"]


def test_interrupted_equals_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killing(done: int, total: int) -> None:
        if (done, total) == (2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_minimal(small_segmenter(), pack_of(), ROWS, CONFIG, tmp_path / "killed", report=killing)
    assert not (tmp_path / "killed" / "minimal.parquet").exists()
    searched = []

    def counting(model: Any, images: torch.Tensor, masks: torch.Tensor, **options: Any) -> Bracket:  # noqa: ANN401
        searched.append(len(images))
        return minimal_eps(model, images, masks, **options)

    monkeypatch.setattr(minimal, "minimal_eps", counting)
    killed = write(tmp_path / "killed")
    assert searched == [1]  # the last batch only
    assert killed.equals(write(tmp_path / "whole"))
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["minimal.json", "minimal.parquet"]
    write(tmp_path / "killed")
    assert searched == [1, 2, 2, 1]  # what is finished is kept


def test_other_settings_are_searched_anew(tmp_path: Path) -> None:
    write(tmp_path)
    other = CONFIG.model_copy(update={"minimal": OPTIONS.model_copy(update={"tau": 0.8})})
    assert write(tmp_path, other)["tau"].unique().to_list() == [0.8]
    assert json.loads((tmp_path / "minimal.json").read_text())["tau"] == 0.8


def test_batches_do_not_change_a_bracket(tmp_path: Path) -> None:
    alone = write(tmp_path / "alone", CONFIG.model_copy(update={"batch_size": 1}))
    assert alone["eps_breaks"].to_list() == pytest.approx(write(tmp_path / "five")["eps_breaks"].to_list())


class Perfect(torch.nn.Module):
    """Enough of a model whose prediction is right whatever the images are."""

    spec = small_segmenter().spec

    def belief(self, images: torch.Tensor) -> Bernoulli:
        return Bernoulli(20 * torch.from_numpy(pack_of().masks[ROWS].astype(np.float32)) - 10)

    def weights(self) -> bytes:
        return b""


@pytest.mark.parametrize(
    ("budget", "change", "words"),
    [
        (2.0, 0.0, "5 of 5 images .* reported as broken"),
        (2.0, -2.0, "pixels from"),
        (0.1, 0.2, "changes 1.00e-01 beyond it"),
    ],
)
def test_what_breaks_nothing_or_too_much_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: float, change: float, words: str
) -> None:
    def boastful(model: object, images: torch.Tensor, masks: torch.Tensor, **options: object) -> Bracket:
        breaks, none = torch.full((len(images),), budget), torch.zeros(len(images), dtype=torch.bool)
        return Bracket(breaks / 2, breaks, none, none, images + change)

    monkeypatch.setattr(minimal, "minimal_eps", boastful)
    with pytest.raises(AttackError, match=words):
        write_minimal(Perfect(), pack_of(), ROWS, CONFIG.model_copy(update={"batch_size": 5}), tmp_path)  # type: ignore[arg-type]  # enough of a model
