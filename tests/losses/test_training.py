"""The composed training loss and the annealing of its penalty."""

import pytest
import torch
from tests.vectors import load_vectors

from trustseg.beliefs import Bernoulli, Beta
from trustseg.errors import BeliefError, ConfigError, UnknownNameError
from trustseg.losses import DATA_TERMS, LOSSES, Balance, annealed, kl_to_uniform, segmentation_loss, soft_dice

GENERATOR = torch.Generator().manual_seed(3)
EVIDENCE = 9 * torch.rand(2, 3, 1, 4, 5, generator=GENERATOR)
BELIEF = Beta(1 + EVIDENCE[0], 1 + EVIDENCE[1])
MASKS = (torch.rand(3, 1, 4, 5, generator=GENERATOR) < 0.3).float()


@pytest.mark.parametrize("balance", ["none", "image"])
@pytest.mark.parametrize("data_term", DATA_TERMS)
def test_is_the_weighted_sum_of_its_terms(data_term: str, balance: Balance) -> None:
    expected = (
        DATA_TERMS[data_term](BELIEF, MASKS, balance=balance)
        + 0.3 * kl_to_uniform(BELIEF, MASKS, balance=balance)
        + 2.0 * soft_dice(BELIEF, MASKS)
    )
    got = segmentation_loss(BELIEF, MASKS, data_term=data_term, kl_weight=0.3, dice_weight=2.0, balance=balance)
    torch.testing.assert_close(got, expected)


def test_terms_of_weight_zero_are_left_out() -> None:
    belief = Bernoulli(EVIDENCE[0])
    got = segmentation_loss(belief, MASKS, data_term="binary_cross_entropy", dice_weight=0.0)
    torch.testing.assert_close(got, LOSSES["binary_cross_entropy"](belief, MASKS), rtol=0, atol=0)


def test_a_bernoulli_has_no_divergence() -> None:
    with pytest.raises(BeliefError, match="kl_to_uniform needs a Beta belief, got a Bernoulli"):
        segmentation_loss(Bernoulli(EVIDENCE[0]), MASKS, data_term="binary_cross_entropy", kl_weight=0.1)


def test_bad_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'type_ii_likelihood'"):
        segmentation_loss(BELIEF, MASKS, data_term="type_2_likelihood")
    for name in ("kl_weight", "dice_weight"):
        for weight in (-0.1, float("nan")):
            with pytest.raises(ConfigError, match=f"{name} must be at least 0, got {weight}"):
                segmentation_loss(BELIEF, MASKS, data_term="type_ii_likelihood", **{name: weight})  # type: ignore[arg-type]  # names of two floats


def test_annealing_vectors() -> None:
    for case in load_vectors("evidential")["annealing"]["cases"]:
        got = annealed(case["maximum"], epoch=case["epoch"], epochs=case["epochs"])
        assert got == pytest.approx(case["expect"]["weight"], rel=1e-9, abs=1e-12)


def test_annealing_grows_to_its_maximum_and_stays() -> None:
    weights = [annealed(0.3, epoch=epoch, epochs=4) for epoch in range(8)]
    assert weights == pytest.approx([0, 0.075, 0.15, 0.225, 0.3, 0.3, 0.3, 0.3])
    assert max(weights) == 0.3
    assert annealed(0.3, epoch=0, epochs=0) == 0.3


@pytest.mark.parametrize(("epoch", "epochs"), [(-1, 10), (3, -1)])
def test_annealing_refuses_negative_epochs(epoch: int, epochs: int) -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        annealed(0.1, epoch=epoch, epochs=epochs)
