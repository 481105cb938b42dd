import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tests.attacks.confidence import EPS, attacked, mean_entropy, mean_vacuity, threshold_at_half
from tests.attacks.untouched import untouched
from tests.attacks.victims import HEADS, dice, discs, finder, seeded
from torch import Tensor

from trustseg.attacks.uncertainty import UNCERTAINTY_ATTACKS, overconfidence, rank_swap, underconfidence
from trustseg.beliefs import Belief
from trustseg.errors import AttackError, ShapeError, TrustsegError

attacks = pytest.mark.parametrize("name", sorted(UNCERTAINTY_ATTACKS))
heads = pytest.mark.parametrize("head", sorted(HEADS))


def iou_by_hand(first: Belief, second: Belief) -> list[float]:
    """Return the IoU of two predictions, by sets of pixels."""
    values = []
    for a, b in zip(first.log_odds, second.log_odds, strict=True):
        one = {i for i, odds in enumerate(a.flatten().tolist()) if odds > 0}
        two = {i for i, odds in enumerate(b.flatten().tolist()) if odds > 0}
        values.append(len(one & two) / len(one | two) if one | two else 1.0)
    return values


@pytest.mark.parametrize("keep_mask", [True, False])
@pytest.mark.parametrize(("attack", "side"), [(overconfidence, 1.0), (underconfidence, -1.0)])
def test_finds_the_optimum_where_every_pixel_has_its_own(
    attack: Callable[..., Tensor], side: float, keep_mask: bool
) -> None:
    distance = 0.1 + 0.2 * torch.rand(3, 1, 4, 5, generator=seeded(1))
    masks = (torch.rand(distance.shape, generator=seeded(2)) > 0.5).float()
    images = 0.5 + (2 * masks - 1) * distance
    got = attack(threshold_at_half, images, masks, eps=0.0625, score=mean_entropy, keep_mask=keep_mask)
    torch.testing.assert_close(got, images + side * 0.0625 * (2 * masks - 1), rtol=0, atol=1e-6)


@heads
def test_the_score_moves_and_the_mask_stays(head: str) -> None:
    images, masks = discs(8, seed=3)
    victim = finder(head)
    clean = victim(images)
    for attack, side in ((overconfidence, -1), (underconfidence, 1)):
        got = victim(attack(victim, images, masks, eps=EPS, score=mean_entropy))
        change = side * (mean_entropy(got) - mean_entropy(clean)) / mean_entropy(clean)
        assert (change > 0.05).all()
        assert min(iou_by_hand(got, clean)) >= 0.98


@pytest.mark.parametrize(("head", "score"), [("bernoulli", mean_entropy), ("beta", mean_vacuity)])
def test_rank_swap_turns_the_ranking_round_and_keeps_dice(head: str, score: Callable[[Belief], Tensor]) -> None:
    images, masks = discs(16, seed=3)
    victim = finder(head)
    clean, got = victim(images), victim(rank_swap(victim, images, masks, eps=EPS, score=score))
    before, after = (spearmanr(score(b).tolist(), (1 - dice(b, masks)).tolist()).statistic for b in (clean, got))
    assert after < before - 0.2
    assert after < -0.3
    assert min(iou_by_hand(got, clean)) >= 0.98
    assert (dice(got, masks) - dice(clean, masks)).abs().max() < 0.02


def test_rank_swap_raises_the_good_and_lowers_the_bad() -> None:
    images = torch.tensor([[0.9, 0.9, 0.3, 0.3], [0.9, 0.3, 0.3, 0.3], [0.3, 0.3, 0.9, 0.9]]).view(3, 1, 2, 2)
    masks = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2).repeat(3, 1, 1, 1)  # Dice 1, 2/3 and 0
    start = mean_entropy(threshold_at_half(images))
    got = mean_entropy(threshold_at_half(rank_swap(threshold_at_half, images, masks, eps=0.1, score=mean_entropy)))
    assert (got > start).tolist() == [True, True, False]
    assert (got < start).tolist() == [False, False, True]


@pytest.mark.parametrize(("median_dice", "same"), [(0.0, underconfidence), (1.01, overconfidence)])
def test_rank_swap_takes_the_median_of_the_whole_set(median_dice: float, same: Callable[..., Tensor]) -> None:
    images, masks = discs(3, seed=3)
    got = rank_swap(finder("beta"), images, masks, eps=EPS, score=mean_vacuity, median_dice=median_dice)
    assert torch.equal(got, same(finder("beta"), images, masks, eps=EPS, score=mean_vacuity))


@attacks
@pytest.mark.parametrize("scale", [2.0**-10, 2.0**-40, 2.0**20])
def test_the_unit_of_the_measure_does_not_matter(name: str, scale: float) -> None:
    images, masks = discs(3, seed=3)
    victim = finder("bernoulli")
    limit = {"threshold": 0.02} if name == "deferral_aware" else {}
    moved = {"threshold": 0.02 * scale} if name == "deferral_aware" else {}
    got = attacked(name, victim, images, masks, steps=15, **limit)
    scaled = attacked(name, victim, images, masks, score=lambda belief: scale * mean_entropy(belief), steps=15, **moved)
    assert torch.equal(got, scaled)
    assert not torch.equal(got, images)


@pytest.mark.parametrize("size", [1e3, 1.0, 1e-12, 1e-30])
@pytest.mark.parametrize(("attack", "side"), [(overconfidence, 1.0), (underconfidence, -1.0)])
def test_a_clean_score_of_nothing_is_no_obstacle(attack: Callable[..., Tensor], side: float, size: float) -> None:
    images, masks = torch.full((1, 1, 4, 5), 0.7), torch.ones(1, 1, 4, 5)
    clean = mean_entropy(threshold_at_half(images))

    def score(belief: Belief) -> Tensor:
        return size * (mean_entropy(belief) - clean)

    got = attack(threshold_at_half, images, masks, eps=0.0625, score=score)
    torch.testing.assert_close(got, images + side * 0.0625, rtol=0, atol=1e-6)


@attacks
@heads
def test_leaves_no_trace_and_repeats_bit_for_bit(name: str, head: str) -> None:
    images, masks = discs(3, seed=3)
    victim = finder(head)
    plain = attacked(name, victim, images, masks, steps=5)
    with untouched(victim, images, masks):
        for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
            with mode:
                got = attacked(name, victim, images.clone(), masks.clone(), steps=5)
            assert torch.equal(got, plain)
            assert not got.is_inference()
            assert not got.requires_grad


@pytest.mark.parametrize("name", ["deferral_aware", "overconfidence", "underconfidence"])
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    images = torch.rand(3, 1, 4, 5, generator=seeded(1))
    masks = (torch.rand(images.shape, generator=seeded(2)) > 0.5).float()
    together = attacked(name, threshold_at_half, images, masks, steps=8)
    alone = torch.cat([attacked(name, threshold_at_half, images[[i]], masks[[i]], steps=8) for i in range(3)])
    assert torch.equal(together, alone)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(UNCERTAINTY_ATTACKS)),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 2**20),
    foreground=st.sampled_from([0.0, 0.3, 1.0]),
    eps=st.floats(0, 1),
)
def test_any_image_stays_in_its_ball_and_box(
    name: str, shape: tuple[int, int, int, int], seed: int, foreground: float, eps: float
) -> None:
    generator = seeded(seed)
    images = (1.5 * torch.rand(shape, generator=generator) - 0.25).clamp(0, 1)  # black and white pixels too
    masks = (torch.rand(shape[0], 1, *shape[2:], generator=generator) < foreground).float()

    def model(images: Tensor) -> Belief:
        return threshold_at_half(images.mean(dim=1, keepdim=True))

    radius = eps * torch.rand(shape[0], generator=generator)
    got = attacked(name, model, images, masks, eps=radius, steps=3, **({"threshold": 0.3} if "aware" in name else {}))
    assert got.shape == images.shape
    assert ((got - images).abs().flatten(1) <= radius.view(-1, 1) + 1e-6).all()
    assert ((got >= 0) & (got <= 1)).all()
    if name == "deferral_aware":
        same = (got == images).flatten(1).all(dim=1)
        assert ((mean_entropy(model(got)) < 0.3) | same).all()
    else:
        assert min(iou_by_hand(model(got), model(images)), default=1.0) >= 0.98


@attacks
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": 0}, AttackError, "steps must be at least 1, got 0"),
        ({"score": lambda belief: belief.entropy()}, ShapeError, r"score returned shape \(2, 1, 20, 23\)"),
        ({"score": lambda belief: mean_entropy(belief).mean()}, ShapeError, "one value per image"),
        (
            {"score": lambda belief: (belief.entropy() > 0.5).sum(dim=(1, 2, 3)) / 1.0},
            AttackError,
            "without a gradient",
        ),
        ({"score": lambda belief: mean_entropy(belief) * math.nan}, AttackError, "NaN or infinity"),
    ],
)
def test_refuses(name: str, options: dict[str, object], error: type[TrustsegError], words: str) -> None:
    with pytest.raises(error, match=words):
        attacked(name, finder("beta"), *discs(2, seed=3), **options)  # type: ignore[arg-type]  # on purpose
