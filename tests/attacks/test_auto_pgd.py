"""Auto-PGD step by step: checkpoints, halvings, returns and passes are those of the paper and of its code."""

import math
from collections.abc import Callable

import pytest
import torch
from tests.attacks.victims import discs, finder, seeded
from torch import Tensor

from trustseg.attacks import OBJECTIVES, Objective, apgd, pgd, staged
from trustseg.attacks.auto_pgd import checkpoints
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 16, 17, 30, 33, 34, 50, 100, 1000])
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
    victim, total = finder("bernoulli"), {"oscillation": 0, "no improvement": 0, "no halving": 0}
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


def distances_of(attack: Callable[..., Tensor], **options: object) -> list[float]:
    """Return how far from the image each forward pass was."""
    image = torch.full((1, 1, 2, 2), 0.5)
    distances = []

    def model(images: Tensor) -> Belief:
        distances.append((images.detach() - image).abs().max().item())
        return Bernoulli(images - 0.5)

    attack(model, image, torch.ones_like(image), eps=0.1, **options)
    return distances


@pytest.mark.parametrize("steps", [10, 100])
def test_staged_shrinks_its_ball(steps: int) -> None:
    distances = distances_of(staged, steps=steps, keep_best=False)
    first, second = 3 * steps // 10, 3 * steps // 5
    assert distances[: first + 1] == pytest.approx([0, *[0.2] * first])  # its steps, and the point they end at
    assert distances[first + 1 : second + 2] == pytest.approx([0.15] * (second - first + 1))
    assert distances[second + 2 :] == pytest.approx([0.1] * (steps - second))


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
