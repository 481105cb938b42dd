from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.attacks.victims import Victim
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from trustseg.attacks import isolated
from trustseg.beliefs import Belief
from trustseg.errors import AttackError


class Stubborn(nn.Module):
    """Refuses to change its mode, as frozen encoders do."""

    def train(self, mode: bool = True) -> "Stubborn":
        raise AssertionError("train() must not be called")


def call(function: Callable[[Tensor], Belief], scale: float, images: Tensor) -> Belief:
    return function(scale * images)


def mixed() -> Victim:
    victim = Victim("beta").train()
    victim.body[1].eval()
    return victim


def modes(victim: nn.Module) -> list[bool]:
    return [module.training for module in victim.modules()]


@pytest.mark.parametrize(
    "reach",
    [
        lambda victim: victim,
        lambda victim: victim.belief,
        lambda victim: partial(call, victim, 1.0),
        lambda victim: partial(call, victim.belief, scale=1.0),
        lambda victim: partial(partial(call, function=victim), 1.0),
    ],
    ids=["module", "method", "partial", "partial of a method", "nested partial"],
)
def test_finds_the_module_sets_eval_mode_and_restores_each_flag(reach: Callable[[Victim], object]) -> None:
    victim = mixed()
    before = modes(victim)
    with isolated(reach(victim)):
        assert not any(modes(victim))
    assert modes(victim) == before
    assert len(set(before)) == 2


def test_restores_after_an_error() -> None:
    victim = mixed()
    before = modes(victim)
    with pytest.raises(KeyError), isolated(victim):
        raise KeyError
    assert modes(victim) == before


def test_does_not_fire_an_overridden_train_method() -> None:
    stubborn = Stubborn()
    with isolated(stubborn):
        assert not stubborn.training
    assert stubborn.training


def test_gradients_flow_inside_no_grad_and_inference_mode() -> None:
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            outer = torch.ones(2)
            with isolated(len):
                inner = outer.clone().requires_grad_()
                (gradient,) = torch.autograd.grad((inner**2).sum(), inner)
            assert not torch.is_grad_enabled()
        assert gradient.tolist() == [2, 2]
    assert not torch.is_inference_mode_enabled()


def test_autocast_is_off_inside_and_on_again_outside() -> None:
    values = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with isolated(len):
            assert (values @ values).dtype == torch.float32
        assert (values @ values).dtype == torch.bfloat16


def test_the_global_random_state_is_left_as_found() -> None:
    before = torch.get_rng_state()
    with isolated(len):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_refuses_a_module_wrapped_for_distributed_training(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(nn.Linear(1, 1))
        with pytest.raises(AttackError, match=r"pass model\.module"), isolated(wrapped):
            pass
    finally:
        distributed.destroy_process_group()
