"""Means of a validation by hand: undefined values, images that two processes measured, and the score."""

import math

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from torch import Tensor

from trustseg.metrics import dice
from trustseg.training.validation import validated, validation_means

NAN = math.nan


def batch(rows: list[int], clean: list[float], robust: list[float], **others: list[float]) -> dict[str, Tensor]:
    values = {"dice": clean, "robust_dice": robust, **others}
    return {"rows": torch.tensor(rows)} | {name: torch.tensor(found) for name, found in values.items()}


def test_means_over_batches_without_what_is_undefined() -> None:
    found = [batch([0, 1], [1.0, NAN], [0.5, 0.1], extra=[0.3, 0.5]), batch([2], [0.0], [0.0])]
    means = validation_means(found, monitor="clean")
    expected = {"validation_dice": 0.5, "validation_robust_dice": 0.2, "validation_extra": 0.4, "validation_score": 0.5}
    assert {name: float(mean) for name, mean in means.items()} == pytest.approx(expected)
    assert validation_means([batch([0], [NAN], [0.5])], monitor="both")["validation_score"].isnan()


@pytest.mark.parametrize(("monitor", "score"), [("clean", 0.8), ("robust", 0.2), ("both", 0.5), ("last", 0.5)])
def test_the_score(monitor: str, score: float) -> None:
    found = validation_means([batch([0], [0.8], [0.2])], monitor=monitor)  # type: ignore[arg-type]  # all kinds
    assert float(found["validation_score"]) == pytest.approx(score)


def test_two_processes_give_what_one_does() -> None:
    """Of three images each process gets two, so that one comes twice; one process alone has a defined value."""
    clean, robust = {0: 0.9, 1: NAN, 2: 0.3}, {0: 0.6, 1: 0.2, 2: 0.1}
    parts = [batch(rows, [clean[r] for r in rows], [robust[r] for r in rows]) for rows in ([0, 2], [1, 0])]

    names = iter(parts[1])

    def gather(mine: Tensor) -> Tensor:
        name = next(names)
        torch.testing.assert_close(mine, parts[1][name], equal_nan=True)
        return torch.stack([part[name] for part in parts])

    whole = validation_means([batch([0, 1, 2], list(clean.values()), list(robust.values()))], monitor="both")
    torch.testing.assert_close(validation_means([parts[1]], monitor="both", gather=gather), whole)


def test_dice_clean_and_attacked() -> None:
    segmenter = small_segmenter().train()
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    masks = (images > 0.6).float()
    masks[0] = 0
    found = validated(segmenter, images, masks, eps=8 / 255, steps=2, generator=torch.Generator().manual_seed(2))
    expected = dice(segmenter.belief(images).log_odds > 0, masks)
    torch.testing.assert_close(found["dice"], expected, equal_nan=True)
    assert ((found["robust_dice"] >= 0) & (found["robust_dice"] <= 1))[1:].all()  # an attack may fail to do harm
    assert segmenter.training
    still = validated(segmenter, images, masks, eps=0.0, steps=1, generator=torch.Generator())
    torch.testing.assert_close(still["robust_dice"], still["dice"], equal_nan=True)
    noise = torch.linspace(-1, 1, images.numel()).view_as(images)  # not clipped
    noisy = validated(segmenter, images, masks, eps=0.0, steps=1, generator=torch.Generator(), noise=noise)
    expected = dice(segmenter.belief(images + noise).log_odds > 0, masks)
    torch.testing.assert_close(noisy, {"dice": expected, "robust_dice": expected}, equal_nan=True)
