"""Point beliefs against the closed forms of a coin, far from one half and where it is certain."""

import math

import torch

from trustseg.beliefs import Bernoulli


class TestBernoulli:
    def test_closed_forms(self) -> None:
        p = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
        belief = Bernoulli(torch.logit(p))
        torch.testing.assert_close(belief.probability, p)
        torch.testing.assert_close(belief.variance(), p * (1 - p))
        torch.testing.assert_close(belief.entropy(), torch.special.entr(p) + torch.special.entr(1 - p))
        torch.testing.assert_close(belief.log_odds, torch.logit(p))

    def test_certainty_has_no_entropy_and_no_nan(self) -> None:
        for dtype in (torch.float32, torch.float64):
            logits = torch.tensor([-math.inf, -1e30, -200.0, 200.0, 1e30, math.inf], dtype=dtype, requires_grad=True)
            belief = Bernoulli(logits)
            assert belief.probability.tolist()[0] == 0
            assert belief.probability.tolist()[-1] == 1
            for name in Bernoulli.measures:
                measured = belief.uncertainty(name)
                assert measured.abs().max() < 1e-30
                (gradient,) = torch.autograd.grad(measured.sum(), logits)
                assert gradient.isfinite().all()

    def test_float32_entropy_keeps_its_digits_far_from_half(self) -> None:
        logits = torch.linspace(-80, 80, 321)
        z = logits.double().abs()
        reference = torch.log1p(torch.exp(-z)) + z / (1 + torch.exp(z))
        torch.testing.assert_close(Bernoulli(logits).entropy().double(), reference, rtol=1e-6, atol=0)

    def test_nan_is_passed_on(self) -> None:
        belief = Bernoulli(torch.tensor([math.nan]))
        assert all(belief.uncertainty(name).isnan().all() for name in Bernoulli.measures)
