import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.victims import discs, finder, linear_case, pixelwise, seeded
from torch import Tensor

from trustseg.attacks import ATTACKS, apgd, pgd, square, transfer
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, ShapeError


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


def test_starts_with_stripes_of_the_whole_budget() -> None:
    start = seen_by((6, 40), steps=1, rising=False)[0]
    assert torch.equal(start, start[:, :, :1].expand_as(start))  # constant down the columns
    assert torch.equal((start - 0.5).abs(), torch.full_like(start, 0.25))
    assert 5 < (start[0, 0, 0] > 0.5).sum() < 35


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
        start, *tried = seen_by((12, 12), steps=60, rising=rising)
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


def test_more_squares_do_more_harm() -> None:
    images, masks = discs(6, seed=7)
    victim = finder("beta")
    few, many = (
        harm(victim(square(victim, images, masks, eps=0.06, steps=steps, generator=seeded())), masks).mean()
        for steps in (20, 400)
    )
    assert many > few + 0.05


@pytest.mark.parametrize("keep_best", [True, False])
def test_makes_no_pass_too_many(keep_best: bool) -> None:
    passes = []

    def model(images: Tensor) -> Belief:
        passes.append(images.requires_grad)
        return Bernoulli(images - 0.5)

    image = torch.full((1, 1, 2, 2), 0.6)
    square(model, image, torch.ones_like(image), eps=0.1, steps=7, generator=seeded(), keep_best=keep_best)
    assert passes == [False] * (8 + keep_best)


def test_an_image_meets_the_same_squares_in_every_batch() -> None:
    images, masks = discs(4, seed=7)
    weights = torch.randn(1, 1, *images.shape[2:], generator=seeded(5))
    attack = partial(square, pixelwise(weights), eps=0.1, steps=50)
    together = attack(images, masks, generator=seeded())
    for row in range(4):
        assert torch.equal(attack(images[[row]], masks[[row]], generator=seeded())[0], together[row])


@given(seed=st.integers(0, 10**6), eps=st.floats(0, 1, width=32), steps=st.integers(1, 12), keep_best=st.booleans())
@settings(max_examples=25, deadline=None)
def test_square_never_exceeds_its_budget(seed: int, eps: float, steps: int, keep_best: bool) -> None:
    generator = seeded(seed)
    images = torch.rand(2, 3, 6, 9, generator=generator).round(decimals=1)
    masks = (torch.rand(2, 1, 6, 9, generator=generator) > 0.5).float()
    radius = torch.tensor([eps, eps / 2])
    victim = finder("bernoulli")
    got = square(
        lambda images: victim(images.mean(dim=1, keepdim=True)), images, masks, eps=radius, steps=steps,
        generator=generator, keep_best=keep_best,
    )  # fmt: skip
    assert ((got - images).abs().amax(dim=(1, 2, 3)) <= radius + 1e-6).all()
    assert got.min() >= 0
    assert got.max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "square draws squares, but generator is None"), ({"steps": 0, "generator": seeded()}, "steps .* got 0")],
)
def test_square_refuses(options: dict[str, object], words: str) -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(AttackError, match=words):
        square(pixelwise(images), images, torch.ones_like(images), eps=0.1, **options)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("attack", [ATTACKS["fgsm"], partial(apgd, norm="l2", steps=5)])
def test_transfer_takes_any_attack_and_leaves_both_models_as_found(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(2, seed=7)
    model, surrogate = finder("beta").train(), finder("bernoulli").train()
    before = [value.clone() for victim in (model, surrogate) for value in victim.state_dict().values()]
    got = transfer(model, images, masks, eps=0.06, surrogate=surrogate, attack=attack, objective="margin")
    eps0 = transfer(model, images, masks, eps=0, surrogate=surrogate, attack=attack)
    after = [value for victim in (model, surrogate) for value in victim.state_dict().values()]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert model.training
    assert surrogate.training
    assert not got.requires_grad
    assert torch.equal(eps0, images)


def test_transfer_takes_a_budget_in_the_norm_of_its_attack() -> None:
    images, masks = torch.full((2, 1, 9, 8), 0.5), torch.ones(2, 1, 9, 8)
    attack = partial(pgd, norm="l2", steps=5)
    got = transfer(lambda seen: Bernoulli(seen - 0.45), images, masks, eps=2.5, surrogate=Bernoulli, attack=attack)
    torch.testing.assert_close((got - images).flatten(1).norm(dim=1), torch.full((2,), 2.5))
    with pytest.raises(AttackError, match=r"eps must be from 0 to 1 and finite, got 2\.5"):
        transfer(Bernoulli, images, masks, eps=2.5, surrogate=Bernoulli)


def test_transfer_reports_a_model_without_a_belief() -> None:
    images, masks = discs(1, seed=7)
    with pytest.raises(AttackError, match="expected a belief"):
        transfer(lambda images: images, images, masks, eps=0.1, surrogate=finder("beta"))  # type: ignore[arg-type, return-value]
    with pytest.raises(ShapeError, match="reference masks"):
        transfer(finder("beta"), images, None, eps=0.1, surrogate=finder("beta"))  # type: ignore[arg-type]
