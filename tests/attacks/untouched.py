"""That an attack leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tests.attacks.victims import Victim
from torch import Tensor


@contextmanager
def untouched(victim: Victim, *inputs: Tensor) -> Iterator[None]:
    """Put a victim into the most delicate state, and fail if the body changes it, the inputs or the random state."""
    victim.train()
    victim.body[1].eval()
    victim.body[4].bias.requires_grad_(False)
    for weight in victim.body[0].parameters():
        weight.grad = torch.ones_like(weight)
    before, copies, random = _state(victim), [values.clone() for values in inputs], torch.get_rng_state()
    yield
    assert _state(victim) == before
    assert all(torch.equal(values, copy) for values, copy in zip(inputs, copies, strict=True))
    assert torch.equal(torch.get_rng_state(), random)


def _state(victim: Victim) -> tuple[object, ...]:
    return (
        [module.training for module in victim.modules()],
        [
            (weight.requires_grad, None if weight.grad is None else weight.grad.tolist())
            for weight in victim.parameters()
        ],
        {name: value.tolist() for name, value in victim.state_dict().items()},
    )
