"""Every entry of ATTACKS keeps the contract, against every kind of belief."""

import inspect
from collections.abc import Callable

import pytest
import torch
from tests.attacks.victims import HEADS, Victim, dice, discs, trained
from torch import Tensor

from trustseg.attacks import ATTACKS, OBJECTIVES, Attack
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, ShapeError

attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
heads = pytest.mark.parametrize("head", sorted(HEADS))
EPS = 0.06


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def state(victim: Victim) -> dict[str, object]:
    """Return everything an attack must not change."""
    return {
        "modes": [module.training for module in victim.modules()],
        "requires_grad": [parameter.requires_grad for parameter in victim.parameters()],
        "grad": [None if p.grad is None else p.grad.tolist() for p in victim.parameters()],
        "weights": {name: value.tolist() for name, value in victim.state_dict().items()},
        "random": torch.get_rng_state().tolist(),
    }


@attacks
@heads
@pytest.mark.parametrize("keep_best", [True, False])
def test_stays_in_the_ball_and_moves(attack: Attack, head: str, keep_best: bool) -> None:
    images, masks = discs(4, seed=3)
    radius = torch.tensor([EPS, EPS / 4, 1.0, 0.0])
    got = attack(trained(head), images, masks, eps=radius, generator=seeded(), keep_best=keep_best)
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
def test_does_harm_and_never_helps_the_defender(attack: Attack, head: str) -> None:
    images, masks = discs(8, seed=3)
    victim = trained(head)
    clean, attacked = victim(images), victim(attack(victim, images, masks, eps=EPS, generator=seeded()))
    assert (harm(attacked, masks) >= harm(clean, masks)).all()
    assert dice(attacked, masks).mean() < dice(clean, masks).mean() - 0.1


@attacks
@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_drives_it(attack: Attack, objective: str) -> None:
    images, masks = discs(4, seed=3)
    victim = trained("beta")
    got = attack(victim, images, masks, eps=EPS, objective=objective, generator=seeded())
    assert harm(victim(got), masks).mean() > harm(victim(images), masks).mean()


@attacks
def test_never_helps_the_defender_of_a_model_that_is_wrong(attack: Attack) -> None:
    images, masks = discs(4, seed=3)
    victim = trained("bernoulli")
    upside_down = 1 - masks
    got = attack(victim, images, upside_down, eps=0.5, generator=seeded())
    assert (harm(victim(got), upside_down) >= harm(victim(images), upside_down)).all()


@attacks
def test_without_budget_gives_back_the_input(attack: Attack) -> None:
    images, masks = discs(3, seed=3)
    for eps in (0, 0.0, torch.zeros(3)):
        for keep_best in (True, False):
            got = attack(trained("beta"), images, masks, eps=eps, generator=seeded(), keep_best=keep_best)
            assert torch.equal(got, images)
            assert got.data_ptr() != images.data_ptr()


@attacks
@heads
def test_leaves_everything_as_found(attack: Attack, head: str) -> None:
    images, masks = discs(3, seed=3)
    images.requires_grad_()
    victim = trained(head).train()
    victim.body[1].eval()
    victim.body[4].bias.requires_grad_(False)
    for weight in victim.body[0].parameters():
        weight.grad = torch.ones_like(weight)
    before, clean, reference = state(victim), images.detach().clone(), masks.clone()
    attack(victim, images, masks, eps=EPS, generator=seeded())
    assert state(victim) == before
    assert torch.equal(images, clean)
    assert images.grad is None
    assert torch.equal(masks, reference)


@attacks
def test_leaves_everything_as_found_after_a_failure(attack: Attack) -> None:
    images, masks = discs(3, seed=3)
    victim = trained("bernoulli").train()
    victim.head = lambda maps: Bernoulli(maps[:, :1] * float("nan"))
    before = state(victim)
    with pytest.raises(AttackError, match="NaN or infinity"):
        attack(victim, images, masks, eps=EPS, generator=seeded())
    assert state(victim) == before


@attacks
@heads
def test_runs_in_float32_with_gradients_wherever_it_is_called(attack: Attack, head: str) -> None:
    images, masks = discs(3, seed=3)
    victim = trained(head)
    plain = attack(victim.train(), images, masks, eps=EPS, generator=seeded())
    for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with mode:  # in inference mode the clones are tensors that cannot carry gradients
            got = attack(victim, images.clone(), masks.clone(), eps=EPS, generator=seeded())
        assert torch.equal(got, plain)
        assert not got.is_inference()


@attacks
def test_same_seed_same_bits_whatever_the_global_state(attack: Attack) -> None:
    images, masks = discs(3, seed=3)
    got = []
    for seed, noise in ((4, 1), (4, 2), (5, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise)
            got.append(attack(trained("beta"), images, masks, eps=EPS, generator=seeded(seed), keep_best=False))
    assert torch.equal(got[0], got[1])
    assert torch.equal(got[0], got[2]) == (attack is ATTACKS["fgsm"])  # which draws nothing


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("keep_best", [True, False])
def test_an_image_does_not_depend_on_its_batch(name: str, keep_best: bool) -> None:
    images, masks = discs(4, seed=3)
    victim = trained("beta")
    together = ATTACKS[name](victim, images, masks, eps=EPS, keep_best=keep_best)
    alone = torch.cat([ATTACKS[name](victim, images[[i]], masks[[i]], eps=EPS, keep_best=keep_best) for i in range(4)])
    assert ((together - alone).abs() > 1e-6).float().mean() < 1e-3  # convolutions may round differently by batch size


@attacks
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 7, 3), (2, 1, 1, 9), (0, 1, 4, 4)])
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_empty_and_full_masks_of_odd_shapes(attack: Attack, shape: tuple[int, ...], fill: float) -> None:
    images = torch.rand(shape, generator=seeded(1))
    masks = torch.full(shape, fill)
    victim = trained("beta")
    for objective in OBJECTIVES:
        got = attack(victim, images, masks, eps=EPS, objective=objective, generator=seeded())
        assert got.shape == images.shape
        assert ((got - images).abs() <= EPS + 1e-6).all()
        assert (harm(victim(got), masks) >= harm(victim(images), masks)).all()


@attacks
def test_colour_images(attack: Attack) -> None:
    grey, masks = discs(3, seed=3)
    victim = trained("bernoulli")
    images = grey.repeat(1, 3, 1, 1)
    got = attack(lambda images: victim(images.mean(dim=1, keepdim=True)), images, masks, eps=EPS, generator=seeded())
    assert got.shape == images.shape


@attacks
@pytest.mark.parametrize(
    "reach", [lambda victim: victim, lambda victim: victim.belief, lambda victim: lambda images: victim(images)]
)
def test_model_may_be_any_callable(attack: Attack, reach: Callable[[Victim], Callable[[Tensor], Belief]]) -> None:
    images, masks = discs(2, seed=3)
    victim = trained("beta")
    assert torch.equal(
        attack(reach(victim), images, masks, eps=EPS, generator=seeded()),
        attack(victim, images, masks, eps=EPS, generator=seeded()),
    )


@attacks
def test_refuses_to_attack_the_models_own_prediction(attack: Attack) -> None:
    images, _ = discs(2, seed=3)
    with pytest.raises(ShapeError, match="reference masks"):
        attack(trained("beta"), images, None, eps=EPS, generator=seeded())  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_docstring_says_shapes_units_and_source(name: str) -> None:
    text = inspect.getdoc(ATTACKS[name]) or ""
    for part in ("Args:", "Returns:", "Raises:", "Reference:", "(B, C, H, W)", "pixel units", "arXiv:"):
        assert part in text
    assert ATTACKS[name].__name__ == name  # type: ignore[attr-defined]  # every entry is a function
