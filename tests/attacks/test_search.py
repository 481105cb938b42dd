import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trustseg.attacks.search import Search, harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, ShapeError, TrustsegError, UnknownNameError


def identity(images: Tensor) -> Belief:
    """Foreground where brighter than 0.5."""
    return Bernoulli(images - 0.5)


def search(model: Callable[[Tensor], Belief] = identity, **changes: object) -> Search:
    options: dict[str, object] = {
        "images": torch.full((2, 1, 2, 3), 0.6),
        "masks": torch.ones(2, 1, 2, 3),
        "eps": 0.1,
        "objective": "cross_entropy",
        "keep_best": True,
    }
    options |= changes
    return Search(model, options.pop("images"), options.pop("masks"), **options)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("logits", "mask", "expected"),
    [
        ([1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 0.0, 0.0], 0.0),
        ([1.0, 1.0, -1.0, -1.0], [1.0, 0.0, 1.0, 0.0], 0.5),
        ([-1.0, -1.0, -1.0, -1.0], [1.0, 0.0, 1.0, 0.0], 1.0),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0], 0.6),
        ([-1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0], 0.0),
        ([1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0], 0.25),
        ([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], 1.0),
        ([math.inf, 1.0, -math.inf, -1.0], [1.0, 1.0, 0.0, 0.0], 0.0),
    ],
)
def test_harm(logits: list[float], mask: list[float], expected: float) -> None:
    belief = Bernoulli(torch.tensor(logits).view(1, 1, 2, 2))
    assert harm(belief, torch.tensor(mask).view(1, 1, 2, 2)).item() == pytest.approx(expected)


def test_remembers_per_image_by_harm_then_objective_then_first() -> None:
    asked = search()
    first = torch.tensor([0.6, 0.6]).view(2, 1, 1, 1).expand(2, 1, 2, 3)
    for values in ([0.4, 0.7], [0.9, 0.55], [0.45, 0.55]):  # image 0: harm; image 1: only the objective rises
        first = torch.tensor(values).view(2, 1, 1, 1).expand(2, 1, 2, 3)
        asked.offer(first, progress=0.0)
    assert asked.result(first)[:, 0, 0, 0].tolist() == pytest.approx([0.4, 0.55])


def test_without_keep_best_returns_the_last_and_asks_nothing_more() -> None:
    calls = []

    def counted(images: Tensor) -> Belief:
        calls.append(images)
        return identity(images)

    asked = search(counted, keep_best=False)
    asked.gradient(asked.images, progress=0.0)
    last = torch.zeros(2, 1, 2, 3)
    asked.offer(last, progress=0.0)
    assert asked.result(last) is last
    assert len(calls) == 1


def test_gradient_of_one_objective_and_value_of_another() -> None:
    asked = search(objective="margin")
    gradient, value = asked.gradient_and_value(
        asked.images, progress=0.0, track=lambda b, m, p: b.log_odds.amax((1, 2, 3))
    )
    torch.testing.assert_close(gradient, torch.full((2, 1, 2, 3), -1 / 6))
    torch.testing.assert_close(value, torch.full((2,), 0.1))
    assert not value.requires_grad
    assert torch.equal(gradient, asked.gradient(asked.images, progress=0.0))


def test_judge_must_give_one_finite_value_an_image() -> None:
    asked = search()
    with pytest.raises(ShapeError, match="one value per image"):
        asked.gradient_and_value(
            asked.images, progress=0.0, track=lambda belief, masks, progress: belief.log_odds.mean()
        )
    asked.gradient_and_value(asked.images, progress=0.0, track=lambda b, m, p: torch.full((2,), math.nan))
    with pytest.raises(AttackError, match="NaN or infinity"):
        asked.result(asked.images)


@pytest.mark.parametrize("keep_best", [True, False])
def test_value_has_no_gradient_and_is_remembered_if_asked(keep_best: bool) -> None:
    asked = search(keep_best=keep_best, objective="margin")
    worse = torch.full((2, 1, 2, 3), 0.4)
    value = asked.value(worse, progress=0.0)
    torch.testing.assert_close(value, torch.full((2,), 0.1))
    assert not value.requires_grad
    assert torch.equal(asked.result(asked.images), worse if keep_best else asked.images)


def test_inputs_are_copied() -> None:
    images, masks = torch.full((2, 1, 2, 3), 0.6), torch.ones(2, 1, 2, 3)
    asked = search(images=images, masks=masks)
    asked.images.zero_()
    asked.masks.zero_()
    assert images.min() > 0
    assert masks.min() > 0


@pytest.mark.parametrize("masks", [torch.ones(2, 1, 2, 3, dtype=torch.bool), torch.ones(2, 1, 2, 3).long()])
def test_masks_of_any_type_will_do(masks: Tensor) -> None:
    assert search(masks=masks).masks.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"masks": None}, ShapeError, "got NoneType"),
        ({"masks": torch.ones(2, 1, 3, 2)}, ShapeError, r"masks must be \(2, 1, 2, 3\)"),
        ({"masks": torch.ones(2, 2, 3)}, ShapeError, "masks must be"),
        ({"masks": torch.full((2, 1, 2, 3), 255.0)}, ShapeError, "only 0 and 1, got values from 255"),
        ({"images": torch.ones(2, 2, 3)}, ShapeError, r"float32 \(B, C, H, W\)"),
        ({"images": torch.ones(2, 1, 2, 3).double()}, ShapeError, r"torch.float64"),
        ({"images": torch.full((2, 1, 2, 3), 1.01)}, AttackError, "got values from 1.01"),
        ({"images": torch.full((2, 1, 2, 3), -0.01)}, AttackError, r"in \[0, 1\]"),
        ({"images": torch.full((2, 1, 2, 3), math.nan)}, AttackError, "must be finite"),
        ({"images": torch.full((2, 1, 2, 3), math.inf)}, AttackError, "must be finite"),
        ({"eps": -0.1}, AttackError, "from 0 to 1 and finite, got -0.1"),
        ({"eps": math.nan}, AttackError, "eps must be from 0 to 1"),
        ({"eps": math.inf}, AttackError, "eps must be from 0 to 1"),
        ({"eps": torch.tensor([0.1, -1.0])}, AttackError, "from 0 to 1 and finite, got -1"),
        ({"eps": 8.0}, AttackError, "eps must be from 0 to 1 and finite, got 8 to 8"),
        ({"eps": torch.ones(3)}, ShapeError, r"\(2,\), one per image, got \(3,\)"),
        ({"eps": torch.ones(2, 1, 1, 1)}, ShapeError, "one per image"),
        ({"objective": "margins"}, UnknownNameError, "unknown objective"),
    ],
)
def test_refuses(changes: dict[str, object], error: type[TrustsegError], words: str) -> None:
    with pytest.raises(error, match=words):
        search(identity, **changes)


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (lambda images: images, AttackError, "returned a Tensor, expected a belief"),
        (lambda images: Bernoulli(images.repeat(1, 2, 1, 1)), ShapeError, r"belief has shape \(2, 2, 2, 3\)"),
        (lambda images: identity(images.detach()), AttackError, "without a gradient"),
        (lambda images: Bernoulli(torch.ones(2, 1, 2, 3, requires_grad=True)), AttackError, "without a gradient"),
    ],
)
def test_refuses_models(model: Callable[[Tensor], Belief], error: type[TrustsegError], words: str) -> None:
    asked = search(model)
    with pytest.raises(error, match=words):
        asked.gradient(asked.images, progress=0.0)


@pytest.mark.parametrize(
    "model",
    [
        lambda images: Bernoulli(images * math.nan),
        lambda images: Bernoulli(-images / 0),
        lambda images: Bernoulli((images - images.detach()).sqrt()),  # finite, but its gradient is not
    ],
)
@pytest.mark.parametrize("keep_best", [True, False])
def test_numbers_that_are_not_finite_are_reported(model: Callable[[Tensor], Belief], keep_best: bool) -> None:
    asked = search(model, keep_best=keep_best)
    asked.gradient(asked.images, progress=0.0)
    with pytest.raises(AttackError, match="NaN or infinity"):
        asked.result(asked.images)
