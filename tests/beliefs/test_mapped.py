import pytest
import torch
from torch import Tensor

from trustseg.beliefs import Bernoulli, Beta, Mixture, mapped
from trustseg.errors import BeliefError

MAPS = torch.arange(1.0, 13.0).view(2, 1, 2, 3)


def turned(values: Tensor) -> Tensor:
    return values.flip(0).mT


def test_all_maps_change_alike() -> None:
    point, evidential = mapped(Bernoulli(MAPS), turned), mapped(Beta(MAPS, 2 * MAPS, 0.5), turned)
    assert isinstance(point, Bernoulli)
    assert isinstance(evidential, Beta)
    assert torch.equal(point.logits, turned(MAPS))
    assert torch.equal(evidential.alpha, turned(MAPS))
    assert torch.equal(evidential.beta, turned(2 * MAPS))
    assert evidential.prior == 0.5


def test_gradients_pass_and_no_image_may_be_left() -> None:
    logits = MAPS.clone().requires_grad_()
    mapped(Bernoulli(logits), lambda values: values[1:]).probability.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.flatten(1).count_nonzero(dim=1).tolist() == [0, 6]
    assert mapped(Beta(MAPS, MAPS), lambda values: values[:0]).probability.shape == (0, 1, 2, 3)


def test_a_mixture_is_refused() -> None:
    with pytest.raises(BeliefError, match="one member at a time"):
        mapped(Mixture([Bernoulli(MAPS)]), turned)
