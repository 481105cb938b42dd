"""What PGD, Auto-PGD and its stages share: optima in closed form, budgets, passes and refusals."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.victims import discs, distances, finder, hyperplane, linear_case, pixelwise, seeded, steep
from torch import Tensor

from trustseg.attacks import OBJECTIVES, apgd, bim, mi_fgsm, pgd, square, staged
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, ShapeError, UnknownNameError

attacks = pytest.mark.parametrize("attack", [pgd, apgd, staged])
norms = pytest.mark.parametrize("norm", ["linf", "l2"])


@attacks
@norms
@pytest.mark.parametrize("random", [False, True])
def test_finds_the_optimum_of_a_linear_victim(attack: Callable[..., Tensor], norm: str, random: bool) -> None:
    weights, images, masks = linear_case()
    gradient = -(2 * masks - 1) * weights
    if norm == "linf":
        eps, optimum = 0.125, images + 0.125 * gradient.sign()
    else:
        eps, optimum = 0.5, images + 0.5 * gradient / gradient.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
    if attack is pgd and norm == "l2":
        attack = partial(pgd, steps=40, step_size=0.25)
    generator = seeded() if random else None
    options = {"eps": eps, "norm": norm, "objective": "margin", "generator": generator, "keep_best": False}
    got = attack(pixelwise(weights), images, masks, **options)
    torch.testing.assert_close(got, optimum, rtol=0, atol=1e-6 if norm == "linf" else 1e-4)


@attacks
@norms
def test_flips_a_hyperplane_just_beyond_its_distance(attack: Callable[..., Tensor], norm: str) -> None:
    weights = torch.randn(1, 1, 6, 5, generator=seeded(1))
    images = torch.full((1, 1, 6, 5), 0.5)
    model = hyperplane(weights, 0.8 - 0.5 * weights.sum().item())  # log-odds 0.8 at the image
    distance = 0.8 / (weights.abs().sum() if norm == "linf" else weights.square().sum().sqrt()).item()
    for factor, broken in ((0.98, False), (1.25 if attack is pgd else 1.01, True)):
        got = attack(model, images, torch.ones_like(images), eps=factor * distance, norm=norm)
        assert (model(got).log_odds <= 0).all().item() == broken


@pytest.mark.parametrize("attack", [pgd, apgd, staged, square])
@norms
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
    images = torch.rand(2, 3, 6, 9, generator=generator).round(decimals=1)
    masks = (torch.rand(2, 1, 6, 9, generator=generator) > 0.5).float()
    radius, victim = torch.tensor([eps, eps / 2]), finder("bernoulli")
    options = {"eps": radius, "objective": objective, "steps": steps, "generator": generator, "keep_best": keep_best}
    if attack is square:
        norm = "linf"
    else:
        options["norm"] = norm
    got = attack(lambda seen: victim(seen.mean(dim=1, keepdim=True)), images, masks, **options)
    flat = (got.double() - images.double()).flatten(1)
    length = flat.abs().amax(dim=1) if norm == "linf" else flat.square().sum(dim=1).sqrt()
    assert (length <= radius + 1e-6).all()
    assert got.min() >= 0
    assert got.max() <= 1


@pytest.mark.parametrize("objective", ["margin", "masked_margin"])
@pytest.mark.parametrize("members", [1, 2])
def test_a_margin_objective_is_not_blinded_by_sharpened_logits(objective: str, members: int) -> None:
    images, masks, near = distances()
    for scale in (1.0, 128.0, 2.0**17):
        for attack in (pgd, apgd, staged) if objective == "margin" else (pgd,):
            got = attack(steep(scale, members=members), images, masks, eps=0.0625, steps=20, objective=objective)
            assert torch.equal((got > 0.5) != (masks > 0), near), scale


@pytest.mark.parametrize("attack", [apgd, staged])
def test_sharpened_logits_blind_cross_entropy(attack: Callable[..., Tensor]) -> None:
    """From logit 104 the gradient of a right pixel's cross-entropy is exactly 0 in float32."""
    images, masks, _ = distances()
    got = attack(steep(2.0**17), images, masks, eps=0.0625, objective="masked_cross_entropy", steps=10)
    assert torch.equal(got, images)
    images, masks = discs(6, seed=7)
    plain, sharp = (
        attack(finder("bernoulli", scale=scale), images, masks, eps=0.06, objective="margin", steps=40)
        for scale in (1.0, 128.0)  # a power of two, so that not even rounding differs
    )
    assert torch.equal(plain, sharp)


@pytest.mark.parametrize(
    ("attack", "options", "forwards", "backwards"),
    [
        (pgd, {"steps": 5}, 6, 5),
        (pgd, {"steps": 5, "keep_best": False}, 5, 5),
        (pgd, {"steps": 5, "generator": 0}, 7, 5),
        (pgd, {"steps": 5, "generator": 0, "keep_best": False}, 5, 5),
        (pgd, {"steps": 5, "generator": 0, "restarts": 3}, 19, 15),
        *((apgd, {"steps": steps}, steps + 1, steps) for steps in (1, 2, 3, 10, 30)),
        (apgd, {"steps": 4, "keep_best": False}, 4, 4),
        (apgd, {"steps": 4, "generator": 0}, 6, 4),
        *((staged, {"steps": steps}, steps + (4 if steps > 3 else 2), steps) for steps in (1, 2, 3, 4, 10, 30)),
        (staged, {"steps": 10, "keep_best": False}, 12, 10),
        (square, {"steps": 7, "generator": 0}, 9, 0),
        (square, {"steps": 7, "generator": 0, "keep_best": False}, 8, 0),
    ],
)
def test_makes_no_pass_too_many(
    attack: Callable[..., Tensor], options: dict[str, object], forwards: int, backwards: int
) -> None:
    passes = []

    def model(images: Tensor) -> Belief:
        passes.append(images.requires_grad)
        return Bernoulli(images - 0.5)

    if "generator" in options:
        options = options | {"generator": seeded()}
    attack(model, torch.full((1, 1, 2, 2), 0.6), torch.ones(1, 1, 2, 2), eps=0.1, **options)
    assert (len(passes), sum(passes)) == (forwards, backwards)


@pytest.mark.parametrize("attack", [pgd, staged])
def test_objective_sees_progress(attack: Callable[..., Tensor]) -> None:
    seen = []

    def objective(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        seen.append(progress)
        return OBJECTIVES["segpgd"](belief, masks, progress)

    image = torch.full((1, 1, 2, 2), 0.6)
    attack(
        lambda images: Bernoulli(images - 0.5), image, torch.ones_like(image), eps=0.1, objective=objective, steps=10,
        keep_best=False,
    )  # fmt: skip
    assert sorted(set(seen)) == pytest.approx([step / 10 for step in range(10)])
    assert seen == sorted(seen)


GENERATOR = seeded()


@pytest.mark.parametrize(
    ("attack", "options", "error", "words"),
    [
        *(
            (attack, options, error, words)
            for attack in (pgd, apgd, staged)
            for options, error, words in (
                ({"norm": "l1"}, UnknownNameError, "unknown norm 'l1'"),
                ({"steps": 0}, AttackError, "at least 1, got 0"),
            )
        ),
        (apgd, {"track": "margni"}, UnknownNameError, "unknown objective 'margni'"),
        (staged, {"track": "margni"}, UnknownNameError, "unknown objective 'margni'"),
        (apgd, {"start": torch.zeros(1, 2, 2)}, ShapeError, "start must be shaped like the images"),
        (pgd, {"restarts": 0}, AttackError, "at least 1, got 20 and 0"),
        (pgd, {"step_size": 0.0}, AttackError, "step_size"),
        (pgd, {"step_size": math.nan}, AttackError, "step_size"),
        (pgd, {"step_size": math.inf}, AttackError, "step_size"),
        (pgd, {"random_start": True}, AttackError, "pass generator="),
        (pgd, {"restarts": 2}, AttackError, "needs random_start and keep_best, got False and True"),
        (pgd, {"restarts": 2, "generator": GENERATOR, "keep_best": False}, AttackError, "got True and False"),
        (bim, {"steps": 0}, AttackError, "steps must be at least 1, got 0"),
        (mi_fgsm, {"steps": -1}, AttackError, "steps must be at least 1, got -1"),
        (mi_fgsm, {"momentum": -0.1}, AttackError, "momentum must be finite and at least 0, got -0.1"),
        (mi_fgsm, {"momentum": math.nan}, AttackError, "momentum must be finite"),
        (square, {}, AttackError, "square draws squares, but generator is None"),
        (square, {"steps": 0, "generator": GENERATOR}, AttackError, "steps .* got 0"),
    ],
)
def test_refuses(attack: Callable[..., Tensor], options: dict[str, object], error: type[Exception], words: str) -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(error, match=words):
        attack(pixelwise(images), images, torch.ones_like(images), **{"eps": 0.1, **options})
