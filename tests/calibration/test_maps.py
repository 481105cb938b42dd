"""The calibration maps against their definitions."""

import math

import pytest
import torch

from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.calibration import MAPS, beta_calibration, evidence_scaling, temperature_scaling
from trustseg.calibration.maps import parameters_of
from trustseg.errors import BeliefError

Z = torch.tensor([-math.inf, -90.0, -3.0, -0.1, 0.0, 0.1, 3.0, 90.0, math.inf], dtype=torch.float64)
EVIDENCE = torch.tensor([[0.0, 0.5, 3.0, 1e6, 2.0], [0.0, 0.7, 3.0, 1.0, 0.0]], dtype=torch.float64)


def test_beta_calibration_is_kulls_map() -> None:
    a, b, c = 0.7, 1.9, -0.4
    p = torch.sigmoid(Z[2:7])
    expected = 1 / (1 + 1 / (math.exp(c) * p**a / (1 - p) ** b))
    torch.testing.assert_close(beta_calibration(Bernoulli(Z[2:7]), a, b, c).probability, expected)
    extreme = beta_calibration(Bernoulli(Z), a, b, c).logits
    assert extreme[0] == -math.inf
    assert extreme[-1] == math.inf
    assert (extreme.diff() > 0).all()


@pytest.mark.parametrize("temperature", [0.2, 1.0, 7.0])
def test_temperature_is_a_beta_calibration_and_keeps_decisions(temperature: float) -> None:
    got = temperature_scaling(Bernoulli(Z), temperature)
    torch.testing.assert_close(got.logits, beta_calibration(Bernoulli(Z), 1 / temperature, 1 / temperature, 0.0).logits)
    assert torch.equal(got.logits > 0, Z > 0)


def test_beta_calibration_may_change_a_decision() -> None:
    assert bool(beta_calibration(Bernoulli(torch.tensor(-0.1)), 1.0, 1.0, 0.5).logits > 0)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1.0, 20.0])
@pytest.mark.parametrize("prior", [0.1, 1.0])
def test_evidence_scaling_multiplies_evidence_and_keeps_decisions(scale: float, prior: float) -> None:
    belief = Beta(prior + EVIDENCE[0], prior + EVIDENCE[1], prior)
    got = evidence_scaling(belief, scale)
    torch.testing.assert_close(got.alpha - prior, scale * EVIDENCE[0])
    torch.testing.assert_close(got.beta - prior, scale * EVIDENCE[1])
    assert got.prior == prior
    assert torch.equal(got.log_odds > 0, EVIDENCE[0] > EVIDENCE[1])
    assert (got.vacuity() <= 1).all()


@pytest.mark.parametrize("name", MAPS)
def test_the_identity_changes_nothing_and_other_kinds_are_refused(name: str) -> None:
    beliefs: list[Bernoulli | Beta] = [Bernoulli(Z[1:-1]), Beta(1 + EVIDENCE[0], 1 + EVIDENCE[1])]
    identity = [0.0 if parameter == "offset" else 1.0 for parameter in parameters_of(name)]
    fits, other = beliefs if name != "evidence_scaling" else beliefs[::-1]
    torch.testing.assert_close(MAPS[name](fits, *identity).log_odds, fits.log_odds)
    for belief in (other, Mixture([fits])):
        words = f"{name} takes a {type(fits).__name__} .*got a {type(belief).__name__}; use"
        with pytest.raises(BeliefError, match=words):
            MAPS[name](belief, *identity)
