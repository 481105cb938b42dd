import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.untouched import untouched
from tests.attacks.victims import dice, discs, finder, hyperplane, seeded
from torch import Tensor

from trustseg.attacks.minimal import Bracket, is_broken, minimal_eps
from trustseg.attacks.search import Model
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, TrustsegError, UnknownNameError

LADDER = (0.01, 0.02, 0.04, 0.08)


def threshold(images: Tensor) -> Belief:
    """Foreground where brighter than 0.5: a pixel flips when it has moved by its distance from 0.5."""
    return Bernoulli(8 * (images - 0.5))


def films(count: int, *, seed: int = 0, reach: float = 0.1, size: tuple[int, int] = (5, 7)) -> tuple[Tensor, Tensor]:
    """Return images on which ``threshold`` is right everywhere, by at most ``reach``, and their masks."""
    generator = seeded(seed)
    masks = (torch.rand(count, 1, *size, generator=generator) > 0.5).float()
    return 0.5 + (2 * masks - 1) * (0.001 + reach * torch.rand(masks.shape, generator=generator)), masks


def dice_of_counts(lost: int, found: int, reference: int) -> float:
    """Return the Dice of a prediction that lost some of the reference pixels and found some outside."""
    return 2 * (reference - lost) / (2 * reference - lost + found)


def smallest_budgets(image: Tensor, mask: Tensor, tau: float) -> dict[str, float]:
    """Return by enumeration the smallest L-infinity and L2 budgets that bring ``threshold`` to Dice <= tau."""
    inside = sorted((image[mask > 0] - 0.5).abs().tolist())
    outside = sorted((image[mask == 0] - 0.5).abs().tolist())
    flat = min(
        eps
        for eps in inside + outside
        if dice_of_counts(sum(d <= eps for d in inside), sum(d <= eps for d in outside), len(inside)) <= tau
    )
    round_ = min(
        math.sqrt(sum(d * d for d in inside[:lost] + outside[:found]))
        for lost in range(len(inside) + 1)
        for found in range(len(outside) + 1)
        if dice_of_counts(lost, found, len(inside)) <= tau
    )
    return {"linf": flat, "l2": round_}


def check_record(bracket: Bracket, model: Model, images: Tensor, masks: Tensor, *, tau: float, norm: str) -> None:
    """Hold a bracket against what its images say."""
    distance = torch.linalg.vector_norm(
        (bracket.images - images).flatten(1), ord=math.inf if norm == "linf" else 2, dim=1
    )
    found = ~bracket.censored & ~bracket.already_broken
    assert is_broken(model(bracket.images), masks, tau=tau).equal(~bracket.censored)
    assert is_broken(model(images), masks, tau=tau).equal(bracket.already_broken)
    assert (distance <= bracket.eps_breaks + 1e-6).all()
    assert torch.equal(bracket.images[~found], images[~found])
    assert ((bracket.images >= 0) & (bracket.images <= 1)).all()
    assert not bracket.images.requires_grad
    assert bracket.eps_breaks.isinf().equal(bracket.censored)
    assert (bracket.eps_breaks == 0).equal(bracket.already_broken)
    assert (bracket.eps_holds < bracket.eps_breaks)[~bracket.already_broken].all()


@pytest.mark.parametrize("tau", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("halvings", [0, 3])
@pytest.mark.parametrize("objectives", [("margin",), ("margin", "balanced_masked_cross_entropy", "soft_dice")])
def test_the_bracket_holds_the_optimum_and_is_as_narrow_as_promised(
    tau: float, halvings: int, objectives: tuple[str, ...]
) -> None:
    images, masks = films(6)
    bracket = minimal_eps(
        threshold, images, masks, tau=tau, ladder=(*LADDER, 0.2), halvings=halvings, objectives=objectives
    )
    check_record(bracket, threshold, images, masks, tau=tau, norm="linf")
    for index in range(6):
        optimum = smallest_budgets(images[index], masks[index], tau)["linf"]
        holds, breaks = bracket.eps_holds[index].item(), bracket.eps_breaks[index].item()
        assert holds - 1e-6 < optimum <= breaks + 1e-6
        rung = next(high - low for low, high in pairwise((0.0, *LADDER, 0.2)) if optimum <= high)
        assert breaks - holds == pytest.approx(rung / 2**halvings, abs=1e-6)


def every_pixel(count: int) -> tuple[Tensor, Tensor]:
    """Return images of foreground alone: a Dice of 0 asks for all pixels, so that none has to be chosen."""
    images, masks = films(count)
    return 0.5 + (images - 0.5).abs(), torch.ones_like(masks)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_bracket_holds_the_distance_of_a_hyperplane(norm: str) -> None:
    weights = torch.randn(1, 1, 6, 5, generator=seeded(1))
    images = torch.full((1, 1, 6, 5), 0.5)
    distance = 0.8 / (weights.abs().sum() if norm == "linf" else weights.square().sum().sqrt()).item()
    bracket = minimal_eps(
        hyperplane(weights, 0.8 - 0.5 * weights.sum().item()),
        images,
        torch.ones_like(images),
        ladder=(0.5 * distance, 1.5 * distance),
        norm=norm,  # type: ignore[arg-type]  # both are valid
    )
    assert bracket.eps_holds.item() <= distance * 1.0001
    assert distance * 0.9999 <= bracket.eps_breaks.item() < distance * 1.0626


@pytest.mark.parametrize(("norm", "widest"), [("linf", 8 / 255), ("l2", 4.0)])
def test_each_norm_has_its_own_ladder(norm: str, widest: float) -> None:
    images = masks = torch.ones(1, 1, 40, 40)  # every pixel is half the range away from the threshold
    bracket = minimal_eps(threshold, images, masks, norm=norm, steps=2)  # type: ignore[arg-type]  # both are valid
    assert bracket.censored.all()
    assert bracket.eps_holds.item() == pytest.approx(widest)


def test_censored_and_already_broken_images_beside_others() -> None:
    images, masks = films(4, reach=0.05)
    images[0] = torch.where(masks[0] > 0, 0.9, 0.1)  # out of reach
    images[1] = 1 - images[1]  # wrong everywhere
    bracket = minimal_eps(threshold, images, masks, ladder=LADDER)
    check_record(bracket, threshold, images, masks, tau=0.5, norm="linf")
    assert bracket.censored.tolist() == [True, False, False, False]
    assert bracket.already_broken.tolist() == [False, True, False, False]
    assert bracket.eps_holds[:2].tolist() == pytest.approx([0.08, 0])
    assert bracket.eps_breaks[:2].tolist() == [math.inf, 0]
    alone = minimal_eps(threshold, images[2:3], masks[2:3], ladder=LADDER)
    assert torch.equal(bracket.eps_breaks[2:3], alone.eps_breaks)
    assert torch.equal(bracket.images[2:3], alone.images)


def test_an_image_that_breaks_leaves_the_work() -> None:
    seen = []

    def counted(images: Tensor) -> Belief:
        seen.append(len(images))
        return threshold(images)

    images, masks = films(5)
    images[1:] = torch.where(masks[1:] > 0, 0.501, 0.499)  # break on the first rung
    minimal_eps(counted, images, masks, ladder=(0.01, 0.2), halvings=0, objectives=("margin",), steps=3)
    # the clean images; first rung: 3 steps, the last iterate, the verdict; second rung: the same for one image
    assert seen == [5] + 5 * [5] + 5 * [1]


def test_an_empty_mask_breaks_at_one_per_cent_of_false_alarm() -> None:
    images = torch.full((2, 1, 10, 10), 0.1)
    images[0, 0, 0, 0] = images[1, 0, 3, 3] = 0.485
    masks = torch.zeros_like(images)
    bracket = minimal_eps(threshold, images, masks, ladder=LADDER)
    check_record(bracket, threshold, images, masks, tau=0.5, norm="linf")
    assert (bracket.eps_holds <= 0.015).all()
    assert (bracket.eps_breaks >= 0.015).all()
    assert (bracket.eps_breaks - bracket.eps_holds).tolist() == pytest.approx(2 * [0.01 / 16], abs=1e-6)
    larger = torch.full((1, 1, 10, 11), 0.1)
    larger[0, 0, 0, 0] = 0.485  # one pixel in 110 is less than one in a hundred
    assert minimal_eps(threshold, larger, torch.zeros_like(larger), ladder=LADDER).censored.all()


@pytest.mark.parametrize(
    ("logits", "mask", "tau", "expected"),
    [
        ([1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 0.0], 0.5, True),  # Dice 2/4, exactly at tau
        ([1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 0.0], 0.8, True),  # 4/5, which float32 rounds up
        ([1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 0.0], 0.79, False),
        ([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], 0.0, True),  # z = 0 is background
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], 0.99, False),
        ([-1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0], 0.99, False),
        ([1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0], 0.0, True),
    ],
)
def test_is_broken(logits: list[float], mask: list[float], tau: float, expected: bool) -> None:
    belief, masks = Bernoulli(torch.tensor(logits).view(1, 1, 2, 2)), torch.tensor(mask).view(1, 1, 2, 2)
    assert is_broken(belief, masks, tau=tau).tolist() == [expected]


@pytest.mark.parametrize(("head", "norm"), [("bernoulli", "l2"), ("beta", "linf"), ("mixture", "l2")])
def test_victims_break_where_the_record_says(head: str, norm: str) -> None:
    images, masks = discs(5, seed=3)
    masks[4] = 0
    victim = finder(head)
    ladder = (0.02, 0.04, 0.08, 0.16) if norm == "linf" else (0.25, 0.5, 1.0, 2.0)
    with untouched(victim, images, masks):
        bracket = minimal_eps(victim, images, masks, tau=0.5, ladder=ladder, norm=norm, steps=4)  # type: ignore[arg-type]
    check_record(bracket, victim.eval(), images, masks, tau=0.5, norm=norm)
    assert not bracket.censored.any()
    assert (dice(victim(bracket.images), masks)[:4] <= 0.5).all()
    easier = minimal_eps(victim, images, masks, tau=0.8, ladder=ladder, norm=norm, steps=4)  # type: ignore[arg-type]
    assert (easier.eps_breaks <= bracket.eps_breaks).all()


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 2**20),
    norm=st.sampled_from(["linf", "l2"]),
    foreground=st.sampled_from([0.0, 0.3, 1.0]),
    tau=st.sampled_from([0.0, 0.5, 0.9]),
)
def test_any_image_stays_in_its_ball_and_box(
    shape: tuple[int, int, int, int], seed: int, norm: str, foreground: float, tau: float
) -> None:
    generator = seeded(seed)
    images = (1.5 * torch.rand(shape, generator=generator) - 0.25).clamp(0, 1)  # black and white pixels too
    masks = (torch.rand(shape[0], 1, *shape[2:], generator=generator) < foreground).float()

    def model(images: Tensor) -> Belief:
        return threshold(images.mean(dim=1, keepdim=True))

    bracket = minimal_eps(model, images, masks, tau=tau, ladder=(0.1, 0.5), halvings=2, steps=4, norm=norm)  # type: ignore[arg-type]
    check_record(bracket, model, images, masks, tau=tau, norm=norm)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tau": 1.0}, AttackError, r"tau must be a Dice in \[0, 1\), got 1.0"),
        ({"tau": -0.1}, AttackError, "tau must be"),
        ({"tau": math.nan}, AttackError, "tau must be"),
        ({"ladder": ()}, AttackError, "ladder must hold"),
        ({"ladder": (0.0, 0.1)}, AttackError, "ladder must hold"),
        ({"ladder": (0.2, 0.1)}, AttackError, "sort it"),
        ({"ladder": (0.1, math.inf)}, AttackError, "ladder must hold"),
        ({"halvings": -1}, AttackError, "halvings must be at least 0"),
        ({"steps": 0}, AttackError, "steps at least 1"),
        ({"objectives": ()}, AttackError, "at least one"),
        ({"objectives": "margin"}, AttackError, r"use \('margin',\)"),
        ({"norm": "l1"}, UnknownNameError, "unknown norm"),
    ],
)
def test_refuses_options(options: dict[str, object], error: type[TrustsegError], words: str) -> None:
    with pytest.raises(error, match=words):
        minimal_eps(threshold, *films(2), **options)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(("every", "tau", "most"), [(True, 0.0, 1.25), (False, 0.5, 2.75)])
def test_l2_budgets_are_never_below_the_optimum_and_not_far_above(every: bool, tau: float, most: float) -> None:
    """Where not every pixel has to flip, the optimum flips the cheapest only; a gradient moves all of them."""
    images, masks = every_pixel(6) if every else films(6)
    bracket = minimal_eps(threshold, images, masks, tau=tau, ladder=(0.05, 0.1, 0.2, 0.4, 0.8), norm="l2")
    check_record(bracket, threshold, images, masks, tau=tau, norm="l2")
    for index in range(6):
        optimum = smallest_budgets(images[index], masks[index], tau)["l2"]
        assert optimum - 1e-6 <= bracket.eps_breaks[index] <= most * optimum
