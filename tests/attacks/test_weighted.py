from collections.abc import Callable

import pytest
import torch
from tests.attacks.victims import discs, finder, seeded
from torch import Tensor

from trustseg.attacks import OBJECTIVES, cospgd, pgd, segpgd
from trustseg.errors import AttackError, UnknownNameError

weighted = pytest.mark.parametrize("attack", [segpgd, cospgd])


@weighted
@pytest.mark.parametrize("objective", ["cross_entropy", "own name"])
def test_is_pgd_with_its_own_objective(attack: Callable[..., Tensor], objective: str) -> None:
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    name = attack.__name__
    objective = name if objective == "own name" else objective
    for keep_best in (True, False):
        got = attack(victim, images, masks, eps=0.06, objective=objective, steps=7, keep_best=keep_best)
        assert torch.equal(got, pgd(victim, images, masks, eps=0.06, objective=name, steps=7, keep_best=keep_best))
    got = attack(victim, images, masks, eps=0.5, norm="l2", generator=seeded())
    assert torch.equal(got, pgd(victim, images, masks, eps=0.5, objective=name, norm="l2", generator=seeded()))


@weighted
def test_follows_its_own_weights(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    got = attack(victim, images, masks, eps=0.06, keep_best=False)
    assert not torch.equal(got, pgd(victim, images, masks, eps=0.06, keep_best=False))


@weighted
def test_refuses_what_it_would_not_follow(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(1, seed=7)
    for objective in ("margin", OBJECTIVES["cross_entropy"]):
        with pytest.raises(AttackError, match=f"{attack.__name__} supports only objective"):
            attack(finder("beta"), images, masks, eps=0.06, objective=objective)
    with pytest.raises(AttackError, match="steps"):
        attack(finder("beta"), images, masks, eps=0.06, steps=0)
    with pytest.raises(UnknownNameError, match="unknown norm"):
        attack(finder("beta"), images, masks, eps=0.06, norm="l1")
