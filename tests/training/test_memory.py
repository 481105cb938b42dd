"""Remembered scores: who comes first, how old they are, and that they are those of clean images only."""

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from tests.training.tiny import config, network, pack, use_tiny_networks
from torch import Tensor, nn

from trustseg.selection import SELECTIONS
from trustseg.training import train
from trustseg.training.memory import ScoreMemory

ROWS = torch.tensor([4, 0, 2])


def remembering(*scores: float, epoch: int = 0, refresh_epochs: int = 2) -> ScoreMemory:
    memory = ScoreMemory(5, refresh_epochs=refresh_epochs)
    memory.remember(torch.arange(len(scores)), torch.tensor(scores), epoch=epoch)
    return memory


def test_scores_and_ages_by_hand() -> None:
    memory = remembering(0.1, 0.2, 0.3)
    memory.remember(torch.tensor([2]), torch.tensor([0.7]), epoch=1)
    torch.testing.assert_close(memory.recall(ROWS, epoch=1, selection="uncertain"), torch.tensor([math.inf, 0.1, 0.7]))
    assert memory.ages(ROWS, epoch=1).tolist() == [2, 1, 0]  # no score: as old as the training


@pytest.mark.parametrize("selection", ["uncertain", "certain", "hard", "proportional"])
def test_images_without_a_score_come_first_and_old_ones_last(selection: str) -> None:
    memory = remembering(0.1, 0.2)  # images 2, 3 and 4 are unknown
    generator = torch.Generator().manual_seed(0)
    scores = memory.recall(torch.arange(5), epoch=1, selection=selection)
    assert SELECTIONS[selection](scores, 3, generator).tolist() == [2, 3, 4]
    memory.remember(torch.tensor([3]), torch.tensor([0.15]), epoch=3)  # by then all others are too old
    scores = memory.recall(torch.arange(5), epoch=3, selection=selection)
    assert SELECTIONS[selection](scores, 1, generator).tolist() == [3]


def test_nothing_is_chosen_for_ever() -> None:
    """Attacked in the place of their originals, the first two would never be scored again."""
    memory = remembering(0.9, 0.8, 0.1, 0.1, refresh_epochs=3)
    rows, generator, rested = torch.arange(4), torch.Generator(), set()
    for epoch in range(1, 10):
        scores = memory.recall(rows, epoch=epoch, selection="uncertain")
        clean = sorted(set(range(4)) - set(SELECTIONS["uncertain"](scores, 2, generator).tolist()))
        rested |= set(clean)
        memory.remember(torch.tensor(clean), torch.tensor([0.9, 0.8, 0.1, 0.1])[clean], epoch=epoch)
        assert int(memory.ages(rows, epoch=epoch).max()) <= 4
    assert rested == {0, 1, 2, 3}


def test_a_score_that_is_no_number_is_not_kept() -> None:
    memory = remembering(0.5, 0.5)
    memory.remember(torch.tensor([0, 1]), torch.tensor([math.nan, 0.6]), epoch=1)
    assert memory.scores[:2].tolist() == pytest.approx([0.5, 0.6])
    assert memory.epochs[:2].tolist() == [0, 1]
    memory.remember(torch.zeros(0, dtype=torch.long), torch.zeros(0), epoch=2)  # all of the batch was attacked
    assert memory.epochs[:2].tolist() == [0, 1]


def test_the_mean_age_of_what_was_recalled() -> None:
    memory = remembering(0.1, 0.2, 0.3)
    assert memory.mean_age() is None
    memory.recall(ROWS, epoch=1, selection="uncertain")  # the fourth has no score; the others are an epoch old
    memory.recall(torch.tensor([0]), epoch=4, selection="uncertain")
    assert memory.mean_age() == pytest.approx(2)
    memory.recall(torch.tensor([4, 3]), epoch=4, selection="uncertain")
    assert memory.mean_age() is None


def test_its_scores_stay_where_they_were_moved() -> None:
    memory, other = remembering(0.1, 0.2, epoch=3), ScoreMemory(5, refresh_epochs=2)
    other.to(torch.device("meta"))
    other.load_state_dict(memory.state_dict())
    assert other.scores.device == other.epochs.device == torch.device("meta")
    rows = ROWS.to("meta")
    other.remember(rows, torch.empty(3, device="meta"), epoch=4)  # nothing is read: a meta tensor has no values
    assert other.recall(rows, epoch=4, selection="certain").shape == (3,)


def test_processes_share_the_latest_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in one: the other's tensors are added where they would arrive."""
    mine, others = remembering(0.1, 0.2, 0.3, epoch=2), remembering(0.9, 0.4, epoch=2)
    others.remember(torch.tensor([2, 3]), torch.tensor([0.7, 0.8]), epoch=3)
    latest = torch.tensor([2, 2, 3, 3, -1])
    their = (others.epochs == latest) & (latest >= 0)
    arriving = [others.epochs, torch.where(their, others.scores.nan_to_num(), 0.0), their.float()]

    def all_reduce(tensor: Tensor, op: Any = torch.distributed.ReduceOp.SUM) -> None:  # noqa: ANN401
        other = arriving.pop(0)
        tensor.copy_(torch.maximum(tensor, other) if op == torch.distributed.ReduceOp.MAX else tensor + other)

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    mine.share()
    torch.testing.assert_close(mine.scores, torch.tensor([0.5, 0.3, 0.7, 0.8, math.nan]), equal_nan=True)
    assert mine.epochs.tolist() == [2, 2, 3, 3, -1]


def test_scores_are_those_of_the_clean_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[int], int]] = []
    remember = ScoreMemory.remember

    def watching(self: ScoreMemory, rows: Tensor, scores: Tensor, *, epoch: int) -> None:
        assert rows.shape == scores.shape
        assert not scores.requires_grad
        seen.append((rows.tolist(), epoch))
        remember(self, rows, scores, epoch=epoch)

    monkeypatch.setattr(ScoreMemory, "remember", watching)
    train(config("adversarial.scores=memory", "training.epochs=2"), pack(), tmp_path)
    assert [len(rows) for rows, _ in seen] == [4, 4, 2, 2]  # whole batches in the warm-up, then what was not attacked
    ages = pl.read_csv(tmp_path / "metrics.csv")["score_age"]
    assert ages.to_list() == [None, 1.0]


def test_a_threshold_on_remembered_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch, flat)
    run = config(
        "model.head=bernoulli",
        "adversarial.selection=threshold",
        "adversarial.threshold=0.69",
        "adversarial.scores=memory",
        "training.epochs=2",
    )
    train(run, pack(), tmp_path)
    assert pl.read_csv(tmp_path / "metrics.csv")["adversarial_images"].to_list() == [0, 8]  # ln 2 is 0.693


def flat(encoder: str, *, channels: int, outputs: int) -> nn.Module:
    """A network that knows nothing: all log-odds are 0, all gradients too."""
    made = network(encoder, channels=channels, outputs=outputs)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
        parameter.requires_grad_(parameter.ndim > 1)
    return made
