import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.victims import discs, distances, finder, hyperplane, linear_case, pixelwise, seeded, steep
from torch import Tensor

from trustseg.attacks import OBJECTIVES, Objective, apgd, pgd, staged
from trustseg.attacks.search import harm
from trustseg.errors import AttackError, ShapeError, UnknownNameError

both = pytest.mark.parametrize("attack", [apgd, staged])


def test_image_does_not_change_that_of_another() -> None:
    images, masks = discs(4, seed=7)
    victim = finder("bernoulli")
    eps = torch.tensor([0.0, 0.02, 0.06, 0.1])
    for attack in (apgd, staged):
        together = attack(victim, images, masks, eps=eps, steps=30, objective="soft_dice")
        for row, radius in enumerate(eps.tolist()):
            alone = attack(victim, images[[row]], masks[[row]], eps=radius, steps=30, objective="soft_dice")
            assert ((together[[row]] - alone).abs() > 1e-6).float().mean() < 5e-3
        assert torch.equal(together[0], images[0])


@both
@pytest.mark.parametrize("generator", [None, 0])
def test_finds_the_optimum_of_a_linear_victim(attack: Callable[..., Tensor], generator: int | None) -> None:
    weights, images, masks = linear_case()
    gradient = -(2 * masks - 1) * weights
    flat = images - 0.125 * (2 * masks - 1) * weights.sign()
    round_ = images + 0.5 * gradient / gradient.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
    for norm, eps, optimum in (("linf", 0.125, flat), ("l2", 0.5, round_)):
        got = attack(
            pixelwise(weights),
            images,
            masks,
            eps=eps,
            norm=norm,
            objective="margin",
            generator=None if generator is None else seeded(generator),
            keep_best=False,
        )
        torch.testing.assert_close(got, optimum, rtol=0, atol=1e-6 if norm == "linf" else 1e-4)


@both
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_flips_a_hyperplane_just_beyond_its_distance(attack: Callable[..., Tensor], norm: str) -> None:
    weights = torch.randn(1, 1, 6, 5, generator=seeded(1))
    images = torch.full((1, 1, 6, 5), 0.5)
    model = hyperplane(weights, 0.8 - 0.5 * weights.sum().item())  # log-odds 0.8 at the image
    dual = weights.abs().sum() if norm == "linf" else weights.square().sum().sqrt()
    for factor, broken in ((0.99, False), (1.01, True)):
        got = attack(model, images, torch.ones_like(images), eps=factor * 0.8 / dual.item(), norm=norm)
        assert (model(got).log_odds <= 0).all().item() == broken


@both
@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(
    seed=st.integers(0, 10**6),
    eps=st.floats(0, 1, width=32),
    steps=st.integers(1, 8),
    objective=st.sampled_from(["margin", "soft_dice", "masked_cross_entropy"]),
    keep_best=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_never_exceeds_its_budget(
    attack: Callable[..., Tensor], norm: str, seed: int, eps: float, steps: int, objective: str, keep_best: bool
) -> None:
    generator = seeded(seed)
    images = torch.rand(2, 1, 6, 9, generator=generator).round(decimals=1)
    masks = (torch.rand(2, 1, 6, 9, generator=generator) > 0.5).float()
    radius = torch.tensor([eps, eps / 2])
    got = attack(
        finder("bernoulli"), images, masks, eps=radius, norm=norm, objective=objective, steps=steps,
        generator=generator, keep_best=keep_best,
    )  # fmt: skip
    flat = (got.double() - images.double()).flatten(1)
    length = flat.abs().amax(dim=1) if norm == "linf" else flat.square().sum(dim=1).sqrt()
    assert (length <= radius + 1e-6).all()
    assert got.min() >= 0
    assert got.max() <= 1


@both
def test_sharpened_logits_do_not_change_what_the_margin_finds(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(6, seed=7)
    plain, sharp = (
        attack(finder("bernoulli", scale=scale), images, masks, eps=0.06, objective="margin", steps=40)
        for scale in (1.0, 128.0)  # a power of two, so that not even rounding differs
    )
    assert torch.equal(plain, sharp)


@both
def test_sharpened_logits_blind_cross_entropy_but_not_the_margin(attack: Callable[..., Tensor]) -> None:
    """From logit 104 the gradient of a right pixel's cross-entropy is exactly 0 in float32."""
    images, masks, near = distances()
    found = {
        name: attack(steep(2.0**17), images, masks, eps=0.0625, objective=name, steps=10)
        for name in ("margin", "masked_cross_entropy")
    }
    assert torch.equal(found["masked_cross_entropy"], images)
    assert torch.equal((found["margin"] > 0.5) != (masks > 0), near)


def test_does_more_harm_than_pgd_of_the_same_steps() -> None:
    images, masks = discs(8, seed=7)
    for head in ("bernoulli", "beta"):
        victim = finder(head)
        weak, strong = (
            harm(victim(attack(victim, images, masks, eps=0.06, objective="cross_entropy", steps=60)), masks).mean()
            for attack in (pgd, apgd)
        )
        assert strong > weak


@pytest.mark.parametrize(
    ("objective", "judge"),
    [("masked_cross_entropy", "cross_entropy"), ("segpgd", "cross_entropy"), ("soft_dice", "soft_dice")],
)
def test_progress_is_judged_by_what_grows_with_success(objective: str, judge: str) -> None:
    images, masks = discs(6, seed=7)
    victim = finder("beta")

    def found(form: str | Objective, track: str | None) -> Tensor:
        return apgd(victim, images, masks, eps=0.06, objective=form, track=track, steps=30)

    default = found(objective, None)
    for form in (objective, OBJECTIVES[objective], OBJECTIVES[objective].function):
        assert torch.equal(found(form, judge if form is objective else None), default)
    assert not torch.equal(found(objective, "cross_entropy" if judge != "cross_entropy" else objective), default)


def test_start_is_brought_into_the_ball_and_competes() -> None:
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    good = apgd(victim, images, masks, eps=0.05, objective="soft_dice", steps=60)
    got = apgd(victim, images, masks, eps=0.05, objective="soft_dice", steps=1, start=good)
    assert (harm(victim(got), masks) >= harm(victim(good), masks) - 1e-6).all()
    far = apgd(victim, images, masks, eps=0.05, steps=1, start=images + 3.0)
    assert ((far - images).abs() <= 0.05 + 1e-6).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"norm": "l1"}, UnknownNameError, "unknown norm 'l1'"),
        ({"steps": 0}, AttackError, "steps must be at least 1, got 0"),
        ({"track": "margni"}, UnknownNameError, "unknown objective 'margni'"),
        ({"objective": "margni"}, UnknownNameError, "unknown objective 'margni'"),
        ({"eps": -0.1}, AttackError, "from 0 to [0-9a-z]+ and finite, got -0.1"),
    ],
)
@both
def test_refuses(attack: Callable[..., Tensor], options: dict[str, object], error: type[Exception], words: str) -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(error, match=words):
        attack(pixelwise(images), images, torch.ones_like(images), **{"eps": 0.1, **options})


def test_refuses_a_start_of_another_shape() -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(ShapeError, match=r"start must be shaped like the images, \(1, 1, 2, 2\), got \(1, 2, 2\)"):
        apgd(pixelwise(images), images, torch.ones_like(images), eps=0.1, start=images[0])


def test_judge_that_is_not_finite_is_reported() -> None:
    images, masks = discs(1, seed=7)
    with pytest.raises(AttackError, match="NaN or infinity"):
        apgd(
            finder("beta"), images, masks, eps=0.1, steps=2,
            track=lambda belief, masks, progress: torch.full((1,), math.nan),
        )  # fmt: skip
