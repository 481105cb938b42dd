import math

import pytest
import torch
from tests.policies import policy_with

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics.deferral import undetected_harm

NAN = math.nan


@pytest.mark.parametrize(
    ("clean_dice", "dice", "score", "empty", "false_positive", "expected"),
    [
        (0.9, 0.5, 0.1, False, 0.0, True),
        (0.9, 0.5, 0.25, False, 0.0, True),  # a score at the threshold is kept
        (0.9, 0.5, 0.3, False, 0.0, False),
        (0.75, 0.625, 0.1, False, 0.0, True),  # falls by exactly the 0.125 asked for
        (0.75, 0.6875, 0.1, False, 0.5, False),  # false positives count only where the mask is empty
        (0.5, 0.9, 0.1, False, 0.0, False),
        (0.9, 0.5, -math.inf, False, NAN, True),
        (0.9, 0.5, math.inf, False, NAN, False),
        (NAN, 0.0, 0.1, True, 0.01, True),
        (NAN, 0.0, 0.1, True, 0.0099, False),
        (NAN, NAN, 0.1, True, 0.0, False),
        (NAN, 0.0, 0.3, True, 0.5, False),
        (0.9, 0.1, 0.1, True, 0.0, False),
    ],
)
def test_undetected_harm(
    clean_dice: float, dice: float, score: float, empty: bool, false_positive: float, expected: bool
) -> None:
    got = undetected_harm(
        torch.tensor([clean_dice]),
        torch.tensor([dice]),
        torch.tensor([score]),
        torch.tensor([empty]),
        torch.tensor([false_positive]),
        threshold=0.25,
        drop=0.125,
    )
    assert got.tolist() == [expected]
    assert got.dtype == torch.bool


def test_kept_is_what_a_policy_keeps() -> None:
    scores = torch.tensor([-math.inf, 0.1, 0.2, 0.3, math.inf])
    one, zero = torch.ones(5), torch.zeros(5)
    for threshold in (-math.inf, 0.1, 0.2, 1.0, math.inf):
        policy = policy_with(threshold=threshold)
        harmed = undetected_harm(one, zero, scores, zero.bool(), zero, threshold=threshold)
        assert harmed.tolist() == (~policy.review(scores.numpy())).tolist()


def test_no_images() -> None:
    none = torch.zeros(0)
    assert undetected_harm(none, none, none, none.bool(), none, threshold=0.2).shape == (0,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dice": torch.zeros(3)}, r"must be \(B,\)"),
        ({name: torch.zeros(1, 1) for name in ("clean_dice", "dice", "scores")}, r"must be \(B,\)"),
        ({"scores": torch.tensor([0.1, NAN])}, "is NaN"),
        ({"dice": torch.tensor([0.1, NAN])}, "mark images without foreground as empty"),
        ({"clean_dice": torch.tensor([0.1, NAN])}, "is NaN"),
        ({"empty": torch.tensor([False, True]), "false_positive_fraction": torch.tensor([0.0, NAN])}, "is NaN"),
    ],
)
def test_refuses(changes: dict[str, object], words: str) -> None:
    values: dict[str, object] = {
        "clean_dice": torch.ones(2),
        "dice": torch.zeros(2),
        "scores": torch.zeros(2),
        "empty": torch.zeros(2, dtype=torch.bool),
        "false_positive_fraction": torch.zeros(2),
        "threshold": 0.2,
    }
    with pytest.raises(ShapeError, match=words):
        undetected_harm(**(values | changes))  # type: ignore[arg-type,type-var]  # on purpose


def test_refuses_a_threshold_that_is_no_number() -> None:
    zero = torch.zeros(2)
    with pytest.raises(ConfigError, match="threshold is nan"):
        undetected_harm(zero, zero, zero, zero.bool(), zero, threshold=NAN)
