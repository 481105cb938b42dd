"""Every entry of ATTACKS keeps the contract, against every kind of belief."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from tests.attacks.untouched import untouched
from tests.attacks.victims import HEADS, dice, discs, finder, linear_case, seeded
from torch import Tensor

from trustseg.attacks import ATTACKS, OBJECTIVES, AttackFacts
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.entries import Entry


def follows_gradients(attack: Entry[Tensor, AttackFacts]) -> bool:
    return attack.facts.passes(steps=1)[1] > 0


def shorter(attack: Entry[Tensor, AttackFacts], *, steps: int, queries: int) -> Callable[..., Tensor]:
    """Return an attack with at most so many steps, or queries where it takes no gradient."""
    if "steps" not in attack.options:
        return attack
    most = steps if follows_gradients(attack) else queries
    return partial(attack, steps=min(attack.options["steps"].default, most))


attacks = pytest.mark.parametrize("attack", [shorter(a, steps=10, queries=60) for a in ATTACKS.values()], ids=ATTACKS)
brief_attacks = pytest.mark.parametrize(
    "attack", [shorter(a, steps=3, queries=9) for a in ATTACKS.values()], ids=ATTACKS
)
heads = pytest.mark.parametrize("head", sorted(HEADS))
EPS = 0.06


def facts_of(attack: Callable[..., Tensor]) -> AttackFacts:
    entry = attack.func if isinstance(attack, partial) else attack
    assert isinstance(entry, Entry)
    facts: AttackFacts = entry.facts
    return facts


def objectives_of(attack: Callable[..., Tensor]) -> list[str]:
    return ["cross_entropy"] if facts_of(attack).weighs_cross_entropy else sorted(OBJECTIVES)


@attacks
@heads
@pytest.mark.parametrize("keep_best", [True, False])
def test_stays_in_the_ball_and_moves(attack: Callable[..., Tensor], head: str, keep_best: bool) -> None:
    images, masks = discs(4, seed=3)
    radius = torch.tensor([EPS, EPS / 4, 1.0, 0.0])
    got = attack(finder(head, dtype=torch.float32), images, masks, eps=radius, generator=seeded(), keep_best=keep_best)
    moved = (got - images).abs().amax(dim=(1, 2, 3))
    assert (moved <= radius + 1e-6).all()
    assert (moved[:3] > 0.5 * radius[:3].clamp_max(0.5)).all()  # a dead attack would return the images
    assert got.min() >= 0
    assert got.max() <= 1
    assert got.dtype == torch.float32
    assert not got.requires_grad
    assert got.device == images.device


@attacks
@heads
def test_does_harm_and_never_helps_the_defender(attack: Callable[..., Tensor], head: str) -> None:
    images, masks = discs(8, seed=3)
    victim = finder(head)
    clean, attacked = victim(images), victim(attack(victim, images, masks, eps=EPS, generator=seeded()))
    assert (harm(attacked, masks) >= harm(clean, masks)).all()
    assert dice(attacked, masks).mean() < dice(clean, masks).mean() - 0.1


@attacks
def test_every_objective_drives_it(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(4, seed=3)
    victim = finder("beta")
    for objective in objectives_of(attack):
        got = attack(victim, images, masks, eps=EPS, objective=objective, generator=seeded())
        assert harm(victim(got), masks).mean() > harm(victim(images), masks).mean(), objective


@brief_attacks
def test_without_budget_gives_back_the_input(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(3, seed=3)
    for eps in (0, 0.0, torch.zeros(3)):
        for keep_best in (True, False):
            got = attack(finder("beta"), images, masks, eps=eps, generator=seeded(), keep_best=keep_best)
            assert torch.equal(got, images)
            assert got.data_ptr() != images.data_ptr()


@brief_attacks
@heads
def test_leaves_everything_as_found(attack: Callable[..., Tensor], head: str) -> None:
    images, masks = discs(3, seed=3)
    images.requires_grad_()
    victim = finder(head, dtype=torch.float32)
    with untouched(victim, images, masks):
        attack(victim, images, masks, eps=EPS, generator=seeded())
    assert images.grad is None


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if "steps" in attack.options])
def test_more_steps_are_never_weaker_on_a_linear_victim(name: str) -> None:
    weights, images, _ = linear_case()

    def model(images: Tensor) -> Belief:
        return Bernoulli(weights * (images - 0.5))

    masks = (model(images).log_odds > 0).float()
    optimum = harm(model(images - 0.08 * (2 * masks - 1) * weights.sign()), masks)
    attack = ATTACKS[name]
    harms = [
        harm(model(attack(model, images, masks, eps=0.08, steps=steps, generator=seeded())), masks)
        for steps in (1, 2, 5, 10, 40, 200)
    ]
    assert optimum.min() > 0.2
    assert all((found <= optimum + 1e-6).all() for found in harms)
    if follows_gradients(attack):
        assert all((more >= less).all() for less, more in pairwise(harms))
        if attack.facts.dense:
            torch.testing.assert_close(harms[-1], optimum)
    else:  # squares shrink at other steps
        assert (harms[-1] > harms[0]).all()


@brief_attacks
@heads
def test_runs_in_float32_with_gradients_wherever_it_is_called(attack: Callable[..., Tensor], head: str) -> None:
    images, masks = discs(3, seed=3)
    victim = finder(head, dtype=torch.float32)
    plain = attack(victim.train(), images, masks, eps=EPS, generator=seeded())
    for mode in (torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with mode:  # in inference mode the clones are tensors that cannot carry gradients
            got = attack(victim, images.clone(), masks.clone(), eps=EPS, generator=seeded())
        assert torch.equal(got, plain)
        assert not got.is_inference()


@brief_attacks
def test_same_seed_same_bits_whatever_the_global_state(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(3, seed=3)
    got = []
    for seed, noise in ((4, 1), (4, 2), (5, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise)
            got.append(attack(finder("beta"), images, masks, eps=EPS, generator=seeded(seed), keep_best=False))
    assert torch.equal(got[0], got[1])
    assert torch.equal(got[0], got[2]) == facts_of(attack).starts_at_image


@pytest.mark.parametrize("name", [n for n, a in ATTACKS.items() if not (a.facts.random and follows_gradients(a))])
@pytest.mark.parametrize("keep_best", [True, False])
def test_an_image_does_not_depend_on_its_batch(name: str, keep_best: bool) -> None:
    images, masks = discs(4, seed=3)
    victim = finder("beta")
    attack = shorter(ATTACKS[name], steps=5, queries=20)

    def attacked(rows: list[int]) -> Tensor:
        generator = seeded() if ATTACKS[name].facts.random else None  # squares are those of all images
        return attack(victim, images[rows], masks[rows], eps=EPS, generator=generator, keep_best=keep_best)

    together, alone = attacked([0, 1, 2, 3]), torch.cat([attacked([row]) for row in range(4)])
    assert ((together - alone).abs() > 1e-6).float().mean() < 2e-3  # convolutions may round differently by batch size


@brief_attacks
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (2, 1, 7, 3), (2, 1, 1, 9), (0, 1, 4, 4)])
def test_empty_and_full_masks_of_odd_shapes(attack: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    images, masks = torch.rand(shape, generator=seeded(1)), torch.zeros(shape)
    masks[1:] = 1
    victim = finder("beta")
    for objective in objectives_of(attack):
        got = attack(victim, images, masks, eps=EPS, objective=objective, generator=seeded())
        assert got.shape == images.shape
        assert ((got - images).abs() <= EPS + 1e-6).all()
        assert (harm(victim(got), masks) >= harm(victim(images), masks)).all()


@brief_attacks
def test_colour_images(attack: Callable[..., Tensor]) -> None:
    grey, masks = discs(3, seed=3)
    victim = finder("bernoulli")
    images = grey.repeat(1, 3, 1, 1)
    got = attack(lambda images: victim(images.mean(dim=1, keepdim=True)), images, masks, eps=EPS, generator=seeded())
    assert got.shape == images.shape
