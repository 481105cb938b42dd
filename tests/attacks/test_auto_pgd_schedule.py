"""Auto-PGD step by step: checkpoints, halvings, returns and passes are those of the paper and of its code."""

import math
from collections.abc import Callable

import pytest
import torch
from tests.attacks.victims import discs, finder, seeded
from torch import Tensor

from trustseg.attacks import OBJECTIVES, apgd, staged
from trustseg.attacks.auto_pgd import checkpoints
from trustseg.beliefs import Belief, Bernoulli


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


@pytest.mark.parametrize("steps", [10, 100])
def test_staged_shrinks_its_ball(steps: int) -> None:
    distances, _ = passes_of(staged, steps=steps, keep_best=False)
    first, second = 3 * steps // 10, 3 * steps // 5
    assert distances[: first + 1] == pytest.approx([0, *[0.2] * first])  # its steps, and the point they end at
    assert distances[first + 1 : second + 2] == pytest.approx([0.15] * (second - first + 1))
    assert distances[second + 2 :] == pytest.approx([0.1] * (steps - second))


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
