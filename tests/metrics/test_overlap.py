"""Dice and IoU by hand, against torchmetrics' own, and at the edges where they are undefined."""

import pytest
import torch
from sklearn.metrics import precision_score, recall_score
from torchmetrics.functional.segmentation import dice_score

from trustseg.errors import ShapeError
from trustseg.metrics import (
    Dice,
    area_error,
    dice,
    harm,
    iou,
    metrics_of,
    overlap_counts,
    pooled_dice,
    pooled_iou,
    precision,
    sensitivity,
)


def _masks(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[:, None, None, :]


# prediction and mask: half right, both empty, only the prediction empty, only the mask empty, both full
PREDICTION = _masks([1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1])
MASKS = _masks([0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1])
NAN = float("nan")


def _same(got: torch.Tensor, wanted: list[float]) -> None:
    torch.testing.assert_close(got, torch.tensor(wanted), equal_nan=True)


def test_metrics_that_take_bool_give_what_they_give_of_numbers() -> None:
    for entry in metrics_of("image").values():
        if entry.facts.takes_bool:
            found = entry(PREDICTION, MASKS.bool())
            torch.testing.assert_close(found, entry(PREDICTION, MASKS), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int64, torch.float16])
def test_by_hand(dtype: torch.dtype) -> None:
    prediction, masks = PREDICTION.to(dtype), MASKS.to(dtype)
    _same(dice(prediction, masks), [0.5, NAN, 0.0, 0.0, 1.0])
    _same(iou(prediction, masks), [1 / 3, NAN, 0.0, 0.0, 1.0])
    _same(harm(prediction, masks), [0.5, 0.0, 1.0, 0.25, 0.0])
    _same(sensitivity(prediction, masks), [0.5, NAN, 0.0, NAN, 1.0])
    _same(precision(prediction, masks), [0.5, NAN, NAN, 0.0, 1.0])
    _same(area_error(prediction, masks), [0.0, NAN, -1.0, NAN, 0.0])
    assert overlap_counts(prediction, masks).pixels.tolist() == [4] * 5


def test_pooled_by_hand() -> None:
    assert float(pooled_dice(PREDICTION, MASKS)) == pytest.approx(10 / 14)
    assert float(pooled_iou(PREDICTION, MASKS)) == pytest.approx(5 / 9)
    assert bool(pooled_dice(PREDICTION[1:2], MASKS[1:2]).isnan())
    assert bool(pooled_iou(PREDICTION[1:2], MASKS[1:2]).isnan())


def test_against_torchmetrics_and_scikit_learn_on_odd_sizes() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, masks = (torch.rand(4, 1, 7, 13, generator=generator) > 0.6 for _ in range(2))
    options = {"num_classes": 2, "input_format": "index", "include_background": False, "average": "none"}
    wanted = dice_score(prediction[:, 0].long(), masks[:, 0].long(), **options)  # type: ignore[arg-type]  # same options
    torch.testing.assert_close(dice(prediction, masks), wanted.flatten())
    together = pooled_dice(prediction, masks)
    torch.testing.assert_close(together, dice(prediction.reshape(1, 1, 28, 13), masks.reshape(1, 1, 28, 13))[0])
    for row in range(4):
        given = masks[row].flatten().numpy(), prediction[row].flatten().numpy()
        assert sensitivity(prediction, masks)[row].item() == pytest.approx(recall_score(*given))
        assert precision(prediction, masks)[row].item() == pytest.approx(precision_score(*given))
    assert area_error(torch.ones(1, 1, 1, 4), MASKS[:1]).tolist() == [1.0]


def test_one_pixel_and_no_images() -> None:
    _same(dice(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)), [1.0])
    assert dice(torch.zeros(0, 1, 2, 2), torch.zeros(0, 1, 2, 2)).shape == (0,)
    assert harm(torch.zeros(0, 1, 2, 2), torch.zeros(0, 1, 2, 2)).shape == (0,)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_metric_is_independent_of_batches(size: int) -> None:
    per_image, pooled = Dice(), Dice(per_image=False)
    for start in range(0, 5, size):
        prediction, masks = PREDICTION[start : start + size], MASKS[start : start + size]
        per_image.update(prediction, masks)
        pooled.update(prediction.bool(), masks)
    assert float(per_image.compute()) == pytest.approx(1.5 / 4)
    assert int(per_image.undefined) == 1
    assert float(pooled.compute()) == pytest.approx(10 / 14)
    per_image.reset()
    per_image.update(torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 3, 3))
    assert bool(per_image.compute().isnan())


def test_bad_input_gets_its_sentence() -> None:
    with pytest.raises(ShapeError, match="resize one"):
        dice(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
    with pytest.raises(ShapeError, match=r"belief\.probability > 0\.5"):
        dice(torch.full((1, 1, 2, 2), 0.7), torch.zeros(1, 1, 2, 2))
    with pytest.raises(ShapeError, match="expected only 0 and 1"):
        harm(torch.full((1, 1, 2, 2), NAN), torch.zeros(1, 1, 2, 2))
