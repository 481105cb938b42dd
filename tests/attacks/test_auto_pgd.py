import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.victims import discs, hyperplane, linear_case, pixelwise, seeded, trained
from torch import Tensor

from trustseg.attacks import OBJECTIVES, apgd, pgd, staged
from trustseg.attacks.auto_pgd import checkpoints
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, ShapeError, UnknownNameError

both = pytest.mark.parametrize("attack", [apgd, staged])


def test_checkpoints_of_a_hundred_steps_are_those_of_the_paper() -> None:
    """Its section 3: p_0 = 0, p_1 = 0.22, p_j+1 = p_j + max(p_j - p_j-1 - 0.03, 0.06), w_j = ceil(100 p_j)."""
    shares = [0, 22]
    while shares[-1] < 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    assert checkpoints(100) == [share for share in shares if 0 < share < 100] == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 16, 17, 30, 33, 34, 50, 1000])
def test_checkpoints_follow_the_rule_of_the_code(steps: int) -> None:
    expected, period, passed = [], max(int(0.22 * steps + 1e-9), 1), 0
    for step in range(1, steps):
        passed += 1
        if passed == period:
            expected.append(step)
            period, passed = max(period - int(0.03 * steps + 1e-9), int(0.06 * steps + 1e-9), 1), 0
    assert checkpoints(steps) == expected


def reference_apgd(
    loss: Callable[[Tensor], Tensor], image: Tensor, start: Tensor, eps: float, steps: int
) -> tuple[Tensor, dict[str, int]]:
    """Return the last point of Auto-PGD on one image, L-infinity, written on its own, and how often it did what."""

    def project(point: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(point, image - eps), image + eps).clamp(0, 1)

    def seen(point: Tensor) -> tuple[float, Tensor, Tensor]:
        leaf = point.detach().requires_grad_()
        value = loss(leaf)
        return value.item(), torch.autograd.grad(value, leaf)[0], point

    history, left, path = [], [], [start]  # everything evaluated; values of the points left; points left and reached
    a, look, halved, best_at_look = 2 * eps, 0, False, -math.inf
    did = {"oscillation": 0, "no improvement": 0, "no halving": 0}
    for k in range(steps):
        value, gradient, point = seen(path[k])
        history.append((value, gradient, point))
        left.append(value)
        best = max(history, key=lambda entry: entry[0])  # the first of equals
        if k == 0:
            best_at_look = value
        if k in checkpoints(steps):
            rises = sum(left[i + 1] > left[i] for i in range(look, k))
            oscillates = rises <= 0.75 * (k - look)
            stalls = not halved and best[0] <= best_at_look
            did["oscillation"] += oscillates
            did["no improvement"] += stalls and not oscillates
            did["no halving"] += not (oscillates or stalls)
            halved, look, best_at_look = oscillates or stalls, k, best[0]
            if halved:
                a /= 2
                left[k], gradient, path[k] = best
        stepped = project(path[k] + a * gradient.sign())
        if k > 0:
            stepped = project(path[k] + 0.75 * (stepped - path[k]) + 0.25 * (path[k] - path[k - 1]))
        path.append(stepped)
    return path[-1], did


def test_apgd_equals_a_reference_written_by_hand() -> None:
    images, masks = discs(5, seed=7)
    victim, total = trained("bernoulli"), {"oscillation": 0, "no improvement": 0, "no halving": 0}
    for row, (name, steps, random) in enumerate(
        [("soft_dice", 50, False), ("margin", 37, False), ("cross_entropy", 50, True), ("soft_dice", 9, True)]
    ):
        image, mask = images[[row]], masks[[row]]
        start = (image + 0.03 * (torch.rand(image.shape, generator=seeded(row)) - 0.5)).clamp(0, 1) if random else image

        def loss(point: Tensor, name: str = name, mask: Tensor = mask) -> Tensor:
            return OBJECTIVES[name](victim(point), mask, 0.0).sum()

        expected, did = reference_apgd(loss, image, start, eps := 1 / 32, steps)
        got = apgd(victim, image, mask, eps=eps, objective=name, steps=steps, start=start, keep_best=False)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-7)
        total = {key: total[key] + did[key] for key in total}
    assert total["oscillation"] > 3
    assert total["no halving"] > 0


@pytest.mark.parametrize(("later", "next_point"), [(range(-10, 0), 0.6875), (range(100, 110), 0.25)])
def test_goes_back_when_the_best_value_stays_behind_though_most_steps_rose(later: range, next_point: float) -> None:
    """Values and slopes are a script: 12 rises to the point 0.75, a step away from it, 9 rises more, below or above.

    Only the second condition can see that they are below: at step 21 the image goes back to 0.75 with half a step of
    0.25 down, z = 0.5, and moves by 0.75 (0.5 - 0.75) + 0.25 (0.75 - 0.25).
    """
    values, slopes = [*range(12), *later], [1.0] * 11 + [-1.0] * 11
    points: list[float] = []

    def objective(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        step = min(len(points), 21)
        points.append(belief.log_odds.item())
        level = belief.log_odds.flatten(1).mean(dim=1)
        value: Tensor = slopes[step] * (level - level.detach()) + values[step]
        return value

    pixel = torch.full((1, 1, 1, 1), 0.5)
    apgd(Bernoulli, pixel, torch.ones_like(pixel), eps=0.25, objective=objective, steps=50, keep_best=False)
    assert checkpoints(50)[:2] == [11, 21]
    assert points[1:12] == [0.75] * 11
    assert points[20:22] == [0.25] * 2
    assert points[22] == next_point


def test_image_does_not_change_that_of_another() -> None:
    images, masks = discs(4, seed=7)
    victim = trained("bernoulli")
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
        trained("bernoulli"), images, masks, eps=radius, norm=norm, objective=objective, steps=steps,
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
        attack(trained("bernoulli", scale=scale), images, masks, eps=0.06, objective="margin", steps=40)
        for scale in (1.0, 128.0)  # a power of two, so that not even rounding differs
    )
    assert torch.equal(plain, sharp)


def test_sharpened_logits_blind_cross_entropy_but_not_the_margin() -> None:
    images, masks = discs(6, seed=7)
    victim = trained("bernoulli", scale=128.0)
    found = {
        name: harm(victim(apgd(victim, images, masks, eps=0.06, objective=name, steps=40)), masks).mean().item()
        for name in ("margin", "masked_cross_entropy")
    }
    assert found["margin"] > found["masked_cross_entropy"] + 0.03


def test_does_more_harm_than_pgd_of_the_same_steps() -> None:
    images, masks = discs(8, seed=7)
    for head in ("bernoulli", "beta"):
        victim = trained(head)
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
    victim = trained("beta")

    def found(name: str, track: str | None) -> Tensor:
        same = [
            apgd(victim, images, masks, eps=0.06, objective=form, track=track, steps=40)
            for form in (name, OBJECTIVES[name])
        ]
        assert torch.equal(*same)
        return same[0]

    assert torch.equal(found(objective, None), found(objective, judge))
    other = "cross_entropy" if judge != "cross_entropy" else objective
    assert not torch.equal(found(objective, None), found(objective, other))


def test_start_is_brought_into_the_ball_and_competes() -> None:
    images, masks = discs(4, seed=7)
    victim = trained("beta")
    good = apgd(victim, images, masks, eps=0.05, objective="soft_dice", steps=60)
    got = apgd(victim, images, masks, eps=0.05, objective="soft_dice", steps=1, start=good)
    assert (harm(victim(got), masks) >= harm(victim(good), masks) - 1e-6).all()
    far = apgd(victim, images, masks, eps=0.05, steps=1, start=images + 3.0)
    assert ((far - images).abs() <= 0.05 + 1e-6).all()


def passes_of(attack: Callable[..., Tensor], **options: object) -> tuple[list[float], int]:
    """Return how far from the image each forward pass was, and the number of backward passes."""
    image = torch.full((1, 1, 2, 2), 0.5)
    distances, backwards = [], 0

    def model(images: Tensor) -> Belief:
        nonlocal backwards
        distances.append((images.detach() - image).abs().max().item())
        backwards += images.requires_grad
        return Bernoulli(images - 0.5)

    attack(model, image, torch.ones_like(image), eps=0.1, **options)
    return distances, backwards


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 30])
@pytest.mark.parametrize("keep_best", [True, False])
def test_makes_no_pass_too_many(steps: int, keep_best: bool) -> None:
    forwards, backwards = passes_of(apgd, steps=steps, keep_best=keep_best)
    assert (len(forwards), backwards) == (steps + keep_best, steps)
    forwards, backwards = passes_of(apgd, steps=steps, keep_best=keep_best, generator=seeded())
    assert (len(forwards), backwards) == (steps + 2 * keep_best, steps)
    forwards, backwards = passes_of(staged, steps=steps, keep_best=keep_best)
    wide = 2 * (steps * 30 // 100 > 0)
    assert (len(forwards), backwards) == (steps + 2 * keep_best + wide, steps)


def test_staged_shrinks_its_ball() -> None:
    distances, _ = passes_of(staged, steps=10, keep_best=False)
    assert distances[:4] == pytest.approx([0, 0.2, 0.2, 0.2])  # three steps, and the point they end at
    assert distances[4:8] == pytest.approx([0.15] * 4)
    assert distances[8:] == pytest.approx([0.1] * 4)


def test_objective_sees_the_progress_of_all_stages() -> None:
    seen = []

    def objective(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        seen.append(progress)
        return OBJECTIVES["segpgd"](belief, masks, progress)

    image = torch.full((1, 1, 2, 2), 0.5)
    staged(
        lambda images: Bernoulli(images - 0.5), image, torch.ones_like(image), eps=0.1, objective=objective, steps=10,
        keep_best=False,
    )  # fmt: skip
    assert sorted(set(seen)) == pytest.approx([step / 10 for step in range(10)])
    assert seen == sorted(seen)


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
            trained("beta"), images, masks, eps=0.1, steps=2,
            track=lambda belief, masks, progress: torch.full((1,), math.nan),
        )  # fmt: skip
