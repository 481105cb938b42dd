from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from tests.attacks.untouched import untouched
from tests.attacks.victims import discs, finder, seeded
from torch import Tensor

from trustseg.attacks import (
    ATTACKS,
    PRESETS,
    backward_passes,
    ensemble,
    members_of,
    staged,
    strongest,
    transfer,
)
from trustseg.attacks.presets import Preset
from trustseg.attacks.projections import LINF
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, ShapeError, TrustsegError, UnknownNameError

EPS = 0.05


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the steps, a hundredth of those of Square."""
    shares = {"square": 100}
    presets = {
        name: tuple(replace(member, steps=max(member.steps // shares.get(member.attack, 10), 1)) for member in members)
        for name, members in PRESETS.items()
    }
    monkeypatch.setattr("trustseg.attacks.presets.PRESETS", presets)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("head", ["bernoulli", "beta"])
@pytest.mark.parametrize("preset", ["quick", "standard", "thorough"])
def test_never_does_less_harm_than_a_member(head: str, preset: Preset) -> None:
    images, masks = discs(4, seed=7)
    victim, surrogate = finder(head), finder("mixture")
    surrogates = [surrogate] if preset == "thorough" else []
    found = strongest(victim, images, masks, eps=EPS, preset=preset, surrogates=surrogates, generator=seeded(4))
    generator = seeded(4)
    start = LINF.start(images, torch.full((4, 1, 1, 1), EPS), generator)
    drawn: dict[str, dict[str, Any]] = {"apgd": {"start": start}, "square": {"generator": generator}}
    harms = {"clean": harm(victim(images), masks)}
    for member in members_of(preset, evidential=head == "beta", surrogates=len(surrogates)):
        steps = {"steps": member.steps} if "steps" in ATTACKS[member.attack].options else {}
        attack: Callable[..., Tensor] = partial(ATTACKS[member.attack], **steps, **drawn.get(member.attack, {}))
        if member.transferred:
            attack = partial(transfer, surrogate=surrogate, attack=attack)
        moved = attack(victim, images, masks, eps=EPS, objective=member.objective)
        harms[member.name] = harm(victim(moved), masks)
    table = torch.stack(list(harms.values()))
    assert torch.equal(found.harm, table.amax(dim=0))
    assert found.winner == tuple(list(harms)[row] for row in table.argmax(dim=0))  # the first of equals
    torch.testing.assert_close(harm(victim(found.images), masks), found.harm)
    assert ((found.images - images).abs() <= EPS + 1e-6).all()
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert (found.harm > harms["clean"]).all()


@pytest.mark.parametrize(("head", "preset"), [("bernoulli", "quick"), ("beta", "quick"), ("beta", "standard")])
def test_spends_what_it_says(head: str, preset: Preset) -> None:
    images, masks = discs(2, seed=7)
    victim, backwards = finder(head), 0

    def model(images: Tensor) -> Belief:
        nonlocal backwards
        backwards += len(images) * images.requires_grad
        return victim.belief(images)

    found = strongest(model, images, masks, eps=0.02, preset=preset)
    budget = backward_passes(preset, evidential=head == "beta")
    assert found.passes.tolist() == [budget, budget]
    assert backwards == 2 * budget


def test_spares_an_image_that_cannot_be_harmed_more() -> None:
    images, masks = discs(4, seed=7)
    masks[3] = 0
    victim = finder("bernoulli")
    runs = [
        strongest(victim, images, masks, eps=torch.tensor([EPS, 1.0, EPS, last]), preset="quick") for last in (1.0, 0.0)
    ]
    assert runs[0].harm[[1, 3]].tolist() == [1, 1]
    assert (runs[0].passes < 101).tolist() == [False, True, False, True]
    assert runs[1].passes.tolist() == [101, runs[0].passes[1].item(), 101, 101]
    for run in runs:
        assert (run.harm[[0, 2]] < 1).all()
    torch.testing.assert_close(runs[0].harm[:3], runs[1].harm[:3], rtol=0, atol=0.02)
    assert ((runs[0].images - runs[1].images)[[0, 2]].abs() > 1e-6).float().mean() < 5e-3


@pytest.mark.usefixtures("short")
def test_a_smaller_budget_is_a_candidate_in_a_larger_one() -> None:
    images, masks = discs(6, seed=7)
    victim = finder("beta")
    carried: list[Tensor] = []
    last = harm(victim(images), masks)
    winners: set[str] = set()
    for eps in (0.002, 0.0021, 0.01, 0.0101, 0.05, 0.2):
        found = strongest(victim, images, masks, eps=eps, candidates=carried)
        assert (found.harm >= last).all()
        carried, last = [found.images], found.harm
        winners |= set(found.winner)
    assert "candidate" in winners


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 7, 3), (0, 1, 4, 4)])
@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.usefixtures("short")
def test_empty_and_full_masks_of_odd_shapes(shape: tuple[int, ...], fill: float) -> None:
    images, masks = torch.rand(shape, generator=seeded(1)), torch.full(shape, fill)
    victim = finder("beta")
    for preset in ("quick", "thorough"):
        found = strongest(victim, images, masks, eps=EPS, preset=preset)
        assert found.images.shape == images.shape
        assert (found.harm >= harm(victim(images), masks)).all()
        assert len(found.winner) == len(images)


def test_sharpened_logits_do_not_make_a_model_look_robust() -> None:
    images, masks = discs(5, seed=7)
    plain, sharp = finder("bernoulli"), finder("bernoulli", scale=128.0)  # the same masks
    odds = [model(images).log_odds.abs().mean(dim=(1, 2, 3)) for model in (plain, sharp)]
    assert (odds[0] < 32).all()
    assert (odds[1] > 32).all()
    found = [strongest(model, images, masks, eps=EPS, preset="quick").harm for model in (plain, sharp)]
    margin = staged(plain, images, masks, eps=EPS, objective="margin", steps=30)
    for found_harm in found:
        assert (found_harm >= harm(plain(margin), masks)).all()
    assert found[1].mean() > found[0].mean() - 0.03
    loss = staged(sharp, images, masks, eps=EPS, objective="soft_dice", steps=30)
    assert harm(sharp(loss), masks).mean() < found[0].mean() - 0.03  # which a single loss does believe


@pytest.mark.usefixtures("short")
def test_leaves_everything_as_found_and_draws_only_from_its_generator() -> None:
    images, masks = discs(2, seed=7)
    victim, surrogate = finder("beta", dtype=torch.float32), finder("bernoulli", dtype=torch.float32)
    attack = partial(strongest, victim, eps=EPS, preset="thorough", surrogates=[surrogate])
    plain = attack(images, masks)
    with untouched(victim, images), untouched(surrogate, masks):
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            again = attack(images.clone(), masks.clone()).images
        assert torch.equal(again, plain.images)


def test_ensemble_returns_the_images_of_the_strongest_and_reports_every_member() -> None:
    images, masks = discs(2, seed=7)
    victim, told = finder("beta"), list[tuple[int, int]]()
    far = [images + 5, images - 5]  # brought into ball and box
    options = {"eps": torch.tensor([EPS, 0.0]), "candidates": far}
    got = ensemble(victim, images, masks, report=lambda done, total: told.append((done, total)), **options)  # type: ignore[arg-type]
    assert told == [(done, 5) for done in range(1, 6)]
    assert torch.equal(got, strongest(victim, images, masks, generator=seeded(0), **options).images)  # type: ignore[arg-type]
    assert torch.equal(got[1], images[1])
    assert ((got - images).abs() <= EPS + 1e-6).all()
    assert got.min() >= 0
    assert got.max() <= 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"preset": "slow"}, UnknownNameError, "unknown preset 'slow'"),
        ({"surrogates": [Bernoulli]}, AttackError, "no surrogates, got 1"),
        ({"candidates": [torch.zeros(1, 1, 2, 2)]}, ShapeError, r"candidates must be shaped like the images"),
    ],
)
def test_refuses(options: dict[str, object], error: type[TrustsegError], words: str) -> None:
    images = torch.full((1, 1, 3, 3), 0.8)
    given = {"model": lambda x: Bernoulli(x - 0.5), "images": images, "masks": torch.ones_like(images), "eps": EPS}
    with pytest.raises(error, match=words):
        ensemble(**(given | options))  # type: ignore[arg-type]  # on purpose
