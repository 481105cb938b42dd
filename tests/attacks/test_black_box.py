import math
from functools import partial

import pytest
import torch
from tests.attacks.untouched import untouched
from tests.attacks.victims import discs, finder, linear_case, pixelwise, seeded
from torch import Tensor

from trustseg.attacks import ATTACKS, apgd, pgd, square, transfer
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError


def seen_by(size: tuple[int, int], *, steps: int, rising: bool, eps: float = 0.25) -> list[Tensor]:
    """Return what ``square`` shows to a model whose objective always rises, or never."""
    seen: list[Tensor] = []

    def objective(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        seen.append(belief.log_odds)
        return torch.full((len(masks),), float(len(seen)) if rising else 0.0)

    images = torch.full((2, 1, *size), 0.5)
    square(
        Bernoulli, images, torch.ones_like(images), eps=eps, objective=objective, steps=steps, generator=seeded(),
        keep_best=False,
    )  # fmt: skip
    return seen


@pytest.mark.parametrize("size", [(20, 20), (7, 30), (1, 1), (1, 9)])
def test_squares_have_the_sizes_of_the_authors(size: tuple[int, int]) -> None:
    """The share of pixels is 0.8, halved after 10, 50, 200, 500 ... of 10000 steps; here of 500 steps."""
    height, width = size
    start, *tried = seen_by(size, steps=500, rising=False)
    for step, candidate in enumerate(tried):
        scaled = step * 10000 / 500
        share = 0.8
        for limit in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000):
            share /= 2 if scaled > limit else 1
        side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
        changed = (candidate != start)[0, 0].nonzero()
        if len(changed):  # nothing changes where all columns already had the sign
            extent = changed.amax(dim=0) - changed.amin(dim=0) + 1
            assert extent.max() <= side
            columns = set(changed[:, 1].tolist())
            assert len(changed) == side * len(columns)  # whole columns of the square
    assert any((candidate != start).any() for candidate in tried)


def test_keeps_a_square_only_where_the_objective_rises() -> None:
    for rising in (True, False):
        start, *tried = seen_by((12, 40), steps=60, rising=rising)
        assert torch.equal(start, start[:, :, :1].expand_as(start))  # stripes down the columns
        assert 5 < (start[0, 0, 0] > 0.5).sum() < 35
        kept = start
        for candidate in tried:
            window = candidate != kept
            assert ((candidate - 0.5).abs() == 0.25).all()  # every pixel at the edge of its ball
            assert len(set(candidate[window].tolist())) <= 1  # one sign a square
            if rising:
                kept = candidate


def test_approaches_the_optimum_of_a_linear_victim() -> None:
    weights, images, masks = linear_case()
    optimum = images - 0.125 * (2 * masks - 1) * weights.sign()
    got = square(
        pixelwise(weights), images, masks, eps=0.125, objective="margin", steps=3000, generator=seeded(),
        keep_best=False,
    )  # fmt: skip
    torch.testing.assert_close(got, optimum, rtol=0, atol=1e-6)


def test_needs_no_gradient() -> None:
    images, masks = discs(4, seed=7)
    victim = finder("bernoulli")

    def blind(images: Tensor) -> Belief:
        with torch.no_grad():
            return victim.belief((images * 255).round() / 255)

    with pytest.raises(AttackError, match="without a gradient"):
        pgd(blind, images, masks, eps=0.06)
    got = square(blind, images, masks, eps=0.06, steps=100, generator=seeded())
    assert (harm(blind(got), masks) > harm(blind(images), masks) + 0.1).all()


def test_transfer_is_the_attack_on_the_surrogate_judged_by_the_model() -> None:
    images, masks = discs(8, seed=7)
    model, surrogate = finder("beta"), finder("bernoulli")
    made = pgd(surrogate, images, masks, eps=0.06, generator=seeded())
    got = transfer(model, images, masks, eps=0.06, surrogate=surrogate, generator=seeded())
    worse = harm(model(made), masks) >= harm(model(images), masks)
    assert torch.equal(got, torch.where(worse.view(-1, 1, 1, 1), made, images))
    assert (harm(model(got), masks) > harm(model(images), masks) + 0.1).any()
    last = transfer(model, images, masks, eps=0.06, surrogate=surrogate, generator=seeded(), keep_best=False)
    assert torch.equal(last, made)


def test_transfer_never_helps_the_defender() -> None:
    images, masks = discs(4, seed=7)
    model = finder("beta")

    def contrary(images: Tensor) -> Belief:
        return Bernoulli(-model(images).log_odds)

    assert torch.equal(transfer(model, images, masks, eps=0.06, surrogate=contrary), images)
    helped = transfer(model, images, masks, eps=0.06, surrogate=contrary, keep_best=False)
    assert (harm(model(helped), masks) <= harm(model(images), masks)).all()


def test_transfer_leaves_both_models_as_found() -> None:
    images, masks = discs(2, seed=7)
    model, surrogate = finder("beta", dtype=torch.float32), finder("bernoulli", dtype=torch.float32)
    with untouched(model, images), untouched(surrogate, masks):
        got = transfer(model, images, masks, eps=0.06, surrogate=surrogate, attack=partial(apgd, norm="l2", steps=5))
    assert not got.requires_grad
    assert torch.equal(transfer(model, images, masks, eps=0, surrogate=surrogate, attack=ATTACKS["fgsm"]), images)


def test_transfer_takes_a_budget_in_the_norm_of_its_attack() -> None:
    images, masks = torch.full((2, 1, 9, 8), 0.5), torch.ones(2, 1, 9, 8)
    attack = partial(pgd, norm="l2", steps=5)
    got = transfer(lambda seen: Bernoulli(seen - 0.45), images, masks, eps=2.5, surrogate=Bernoulli, attack=attack)
    torch.testing.assert_close((got - images).flatten(1).norm(dim=1), torch.full((2,), 2.5))
    with pytest.raises(AttackError, match=r"eps must be from 0 to 1 and finite, got 2\.5"):
        transfer(Bernoulli, images, masks, eps=2.5, surrogate=Bernoulli)
