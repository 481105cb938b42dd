import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.victims import dice, discs, distances, finder, hyperplane, linear_case, pixelwise, seeded, steep
from torch import Tensor

from trustseg.attacks import ATTACKS, OBJECTIVES, bim, fgsm, mi_fgsm, pgd
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, UnknownNameError


def test_pgd_finds_the_optimum_of_a_linear_victim() -> None:
    weights, images, masks = linear_case()
    gradient = -(2 * masks - 1) * weights
    flat = images - 0.125 * (2 * masks - 1) * weights.sign()
    round_ = images + 0.5 * gradient / gradient.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
    for start in (None, seeded()):
        got = pgd(pixelwise(weights), images, masks, eps=0.125, objective="margin", generator=start, keep_best=False)
        torch.testing.assert_close(got, flat, rtol=0, atol=1e-6)
        got = pgd(
            pixelwise(weights),
            images,
            masks,
            eps=0.5,
            norm="l2",
            steps=40,
            step_size=0.25,
            objective="margin",
            generator=start,
            keep_best=False,
        )
        torch.testing.assert_close(got, round_, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_flips_a_hyperplane_within_a_quarter_of_its_distance(norm: str, random_start: bool) -> None:
    generator = seeded(1)
    weights = torch.randn(1, 1, 6, 5, generator=generator)
    images = torch.full((1, 1, 6, 5), 0.5)
    masks = torch.ones_like(images)
    model = hyperplane(weights, 0.8 - 0.5 * weights.sum().item())  # log-odds 0.8 at the image
    dual = weights.abs().sum() if norm == "linf" else weights.square().sum().sqrt()
    distance = 0.8 / dual.item()
    for factor, broken in ((0.98, False), (1.25, True)):
        got = pgd(
            model,
            images,
            masks,
            eps=factor * distance,
            norm=norm,  # type: ignore[arg-type]  # both are valid
            random_start=random_start,
            generator=seeded(),
        )
        assert (model(got).log_odds <= 0).all().item() == broken


def reference_pgd(model: Callable[[Tensor], Belief], images: Tensor, masks: Tensor, eps: float, steps: int) -> Tensor:
    """Written on its own: L-infinity, no random start, last iterate."""
    step = 2.5 * eps / steps
    moved = images.clone()
    for _ in range(steps):
        moved = moved.detach().requires_grad_()
        loss = torch.log1p(torch.exp(-(2 * masks - 1) * model(moved).log_odds)).mean(dim=(1, 2, 3)).sum()
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + step * gradient.sign()
        moved = torch.minimum(torch.maximum(moved, images - eps), images + eps).clamp(0, 1)
    return moved


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_pgd_equals_a_reference_written_by_hand(head: str) -> None:
    images, masks = discs(4, seed=7)
    victim = finder(head)
    got = pgd(victim, images, masks, eps=0.1, steps=7, keep_best=False)
    expected = reference_pgd(victim, images, masks, 0.1, 7)
    different = (got - expected).abs() > 1e-6  # a gradient within rounding of 0 may have either sign
    assert different.float().mean() < 1e-3


@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(seed=st.integers(0, 10**6), eps=st.floats(0, 1, width=32), steps=st.integers(1, 5), keep_best=st.booleans())
@settings(max_examples=25, deadline=None)
def test_pgd_never_exceeds_its_budget(norm: str, seed: int, eps: float, steps: int, keep_best: bool) -> None:
    generator = seeded(seed)
    images = torch.rand(2, 1, 6, 9, generator=generator).round(decimals=1)
    masks = (torch.rand(2, 1, 6, 9, generator=generator) > 0.5).float()
    radius = torch.tensor([eps, eps / 2])
    got = pgd(
        finder("bernoulli"),
        images,
        masks,
        eps=radius,
        norm=norm,  # type: ignore[arg-type]  # both are valid
        steps=steps,
        generator=generator,
        keep_best=keep_best,
    )
    flat = (got.double() - images.double()).flatten(1)
    length = flat.abs().amax(dim=1) if norm == "linf" else flat.square().sum(dim=1).sqrt()
    assert (length <= radius + 1e-6).all()
    assert got.min() >= 0
    assert got.max() <= 1


def test_restarts_keep_the_worst_of_each_image() -> None:
    images, masks = discs(6, seed=7)
    victim = finder("beta")
    many = harm(
        victim(pgd(victim, images, masks, eps=0.06, steps=3, restarts=4, generator=(generator := seeded()))), masks
    )
    generator = seeded()
    runs = [harm(victim(pgd(victim, images, masks, eps=0.06, steps=3, generator=generator)), masks) for _ in range(4)]
    assert torch.equal(many, torch.stack(runs).amax(dim=0))
    assert len({tuple(run.tolist()) for run in runs}) > 1


@pytest.mark.parametrize(
    ("options", "forwards", "backwards"),
    [
        ({"steps": 5}, 6, 5),
        ({"steps": 5, "keep_best": False}, 5, 5),
        ({"steps": 5, "generator": seeded()}, 7, 5),
        ({"steps": 5, "generator": seeded(), "keep_best": False}, 5, 5),
        ({"steps": 5, "generator": seeded(), "restarts": 3}, 19, 15),
    ],
)
def test_pgd_makes_no_pass_too_many(options: dict[str, object], forwards: int, backwards: int) -> None:
    passes = {"forward": 0, "backward": 0}

    def model(images: Tensor) -> Belief:
        passes["forward"] += 1
        if images.requires_grad:
            passes["backward"] += 1
        return Bernoulli(images - 0.5)

    pgd(model, torch.full((1, 1, 2, 2), 0.6), torch.ones(1, 1, 2, 2), eps=0.1, **options)  # type: ignore[arg-type]
    assert passes == {"forward": forwards, "backward": backwards}


@pytest.mark.parametrize("objective", ["margin", "masked_margin"])
@pytest.mark.parametrize("members", [1, 2])
def test_a_margin_objective_is_not_blinded_by_sharpened_logits(objective: str, members: int) -> None:
    images, masks, near = distances()
    for scale in (1.0, 128.0, 2.0**17):
        got = pgd(steep(scale, members=members), images, masks, eps=0.0625, steps=20, objective=objective)
        assert torch.equal((got > 0.5) != (masks > 0), near), scale


def test_more_effort_does_more_harm() -> None:
    images, masks = discs(8, seed=7)
    victim = finder("beta")
    clean, weak, strong = (
        dice(victim(moved), masks).mean().item()
        for moved in (
            images,
            fgsm(victim, images, masks, eps=0.06),
            pgd(victim, images, masks, eps=0.06, steps=20, objective="balanced_masked_cross_entropy"),
        )
    )
    assert clean > 0.85
    assert strong < weak < clean


def test_objective_sees_progress() -> None:
    seen = []

    def objective(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        seen.append(progress)
        return OBJECTIVES["segpgd"](belief, masks, progress)

    pgd(
        lambda images: Bernoulli(images - 0.5),
        torch.full((1, 1, 2, 2), 0.6),
        torch.ones(1, 1, 2, 2),
        eps=0.1,
        objective=objective,
        steps=4,
        keep_best=False,
    )
    assert seen == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"norm": "l1"}, UnknownNameError, "unknown norm 'l1'"),
        ({"steps": 0}, AttackError, "at least 1, got 0 and 1"),
        ({"restarts": 0}, AttackError, "at least 1, got 20 and 0"),
        ({"step_size": 0.0}, AttackError, "step_size"),
        ({"step_size": math.nan}, AttackError, "step_size"),
        ({"step_size": math.inf}, AttackError, "step_size"),
        ({"random_start": True}, AttackError, "pass generator="),
        ({"restarts": 2}, AttackError, "needs random_start and keep_best, got False and True"),
        ({"restarts": 2, "generator": seeded(), "keep_best": False}, AttackError, "got True and False"),
    ],
)
def test_pgd_refuses(options: dict[str, object], error: type[Exception], words: str) -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(error, match=words):
        pgd(pixelwise(images), images, torch.ones_like(images), eps=0.1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_bim_and_mi_fgsm_reach_the_optimum_of_a_linear_victim(steps: int) -> None:
    weights, images, masks = linear_case()
    optimum = images - 0.125 * (2 * masks - 1) * weights.sign()
    for attack in (bim, mi_fgsm):
        got = attack(pixelwise(weights), images, masks, eps=0.125, objective="margin", steps=steps, keep_best=False)
        torch.testing.assert_close(got, optimum, rtol=0, atol=1e-6)


def test_bim_takes_steps_of_one_grey_level_where_the_paper_does() -> None:
    """At eps = 8/255 the paper takes min(8 + 4, 1.25 * 8) = 10 steps of 1/255."""
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    got = bim(victim, images, masks, eps=8 / 255, steps=10)
    assert torch.equal(got, pgd(victim, images, masks, eps=8 / 255, steps=10, step_size=1 / 255))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_mi_fgsm_without_momentum_takes_plain_steps(steps: int) -> None:
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    got = mi_fgsm(victim, images, masks, eps=0.05, steps=steps, momentum=0.0)
    assert torch.equal(got, pgd(victim, images, masks, eps=0.05, steps=steps, step_size=0.05 / steps))


def test_mi_fgsm_equals_a_reference_written_by_hand() -> None:
    images, masks = discs(1, seed=7)
    victim = finder("bernoulli")
    moved, velocity = images.clone(), torch.zeros_like(images)
    for _ in range(6):
        moved = moved.detach().requires_grad_()
        loss = torch.nn.functional.softplus(-(2 * masks - 1) * victim(moved).log_odds).mean()
        (gradient,) = torch.autograd.grad(loss, moved)
        velocity = 0.7 * velocity + gradient / gradient.abs().sum()
        moved = (moved.detach() + 0.01 * velocity.sign()).clamp(0, 1)
    got = mi_fgsm(victim, images, masks, eps=0.06, steps=6, momentum=0.7, keep_best=False)
    assert ((got - moved).abs() > 1e-6).float().mean() < 5e-3  # a velocity within rounding of 0 may have either sign
    plain = mi_fgsm(victim, images, masks, eps=0.06, steps=6, momentum=0.0, keep_best=False)
    assert ((got - plain).abs() > 1e-6).float().mean() > 5e-3


def test_mi_fgsm_weighs_images_alone() -> None:
    images, masks = discs(3, seed=7)

    def moved(slopes: list[float]) -> Tensor:
        weights = torch.tensor(slopes).view(3, 1, 1, 1)
        return mi_fgsm(lambda x: Bernoulli(weights * (x - 0.5)), images, masks, eps=0.1, objective="margin")

    assert torch.equal(moved([1e-30, 1.0, 1e25]), moved([1.0, 1.0, 1.0]))


@pytest.mark.parametrize(
    ("attack", "options", "words"),
    [
        (bim, {"steps": 0}, "steps must be at least 1, got 0"),
        (mi_fgsm, {"steps": -1}, "steps must be at least 1, got -1"),
        (mi_fgsm, {"momentum": -0.1}, "momentum must be finite and at least 0, got -0.1"),
        (mi_fgsm, {"momentum": math.nan}, "momentum must be finite"),
    ],
)
def test_bim_and_mi_fgsm_refuse(attack: Callable[..., Tensor], options: dict[str, float], words: str) -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(AttackError, match=words):
        attack(pixelwise(images), images, torch.ones_like(images), eps=0.1, **options)


@pytest.mark.parametrize(("options", "passes"), [({}, 20), ({"steps": 3}, 3), ({"steps": 3, "restarts": 2}, 6)])
def test_the_passes_that_a_plan_counts_are_those_of_the_defaults(options: dict[str, int], passes: int) -> None:
    facts = ATTACKS["pgd"].facts
    given = {name: option.default for name, option in ATTACKS["pgd"].options.items() if name in ("steps", "restarts")}
    assert facts.passes(**(given | options)) == (passes, passes)
    assert facts.passes(**{"steps": 20} | options) == (passes, passes)
