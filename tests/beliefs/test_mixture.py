"""Mixtures against golden vectors, a worked pair and brute force over their members."""

import math

import pytest
import torch
from tests.beliefs.given import TOLERANCE, beta, value
from tests.vectors import load_vectors

from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError, ShapeError

LN2 = math.log(2)


class TestMixture:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_vectors(self, dtype: torch.dtype) -> None:
        rtol, atol = TOLERANCE[dtype]
        for case in load_vectors("evidential")["mixtures"]["cases"]:
            members = [
                beta(*member, dtype=dtype)
                if isinstance(member, list)
                else Bernoulli(torch.tensor([member], dtype=dtype).logit())
                for member in case["members"]
            ]
            for name, expected in case["expect"].items():
                got = value(Mixture(members), name).item()
                assert got == pytest.approx(expected, rel=rtol, abs=atol), (case, name)

    def test_brute_force(self) -> None:
        generator = torch.Generator().manual_seed(1)
        logits = 3 * torch.randn(5, 2, 1, 3, 4, generator=generator, dtype=torch.float64)
        pairs = 1 + 20 * torch.rand(3, 2, 2, 1, 3, 4, generator=generator, dtype=torch.float64)
        bernoullis = [Bernoulli(z) for z in logits]
        betas = [Beta(pair[0], pair[1]) for pair in pairs]
        mixture = Mixture([*bernoullis, *betas])
        # The law of theta is a mixture itself: moments and entropies are averages over members, taken one by one.
        first = torch.stack([m.probability for m in mixture.members]).mean(0)
        second = torch.stack(
            [m.probability**2 for m in bernoullis] + [m.epistemic_variance() + m.probability**2 for m in betas]
        ).mean(0)
        conditional = torch.stack([m.entropy() for m in bernoullis] + [m.expected_entropy() for m in betas]).mean(0)
        total = torch.special.entr(first) + torch.special.entr(1 - first)
        expected = {
            "probability": first,
            "variance": first - first**2,
            "epistemic_variance": second - first**2,
            "aleatoric_variance": first - second,
            "entropy": total,
            "expected_entropy": conditional,
            "mutual_information": total - conditional,
        }
        for name, reference in expected.items():
            torch.testing.assert_close(value(mixture, name), reference, msg=name)
        torch.testing.assert_close(mixture.log_odds, torch.logit(first))

    def test_one_member_is_that_member(self) -> None:
        for member in (beta(4.0, 1.5), Bernoulli(torch.tensor([0.3], dtype=torch.float64))):
            for name in member.measures:
                if name in Mixture.measures:
                    torch.testing.assert_close(Mixture([member]).uncertainty(name), member.uncertainty(name))

    def test_opposite_certainties_are_pure_disagreement(self) -> None:
        mixture = Mixture([Bernoulli(torch.tensor([math.inf])), Bernoulli(torch.tensor([-math.inf]))])
        assert mixture.log_odds.item() == 0
        assert mixture.mutual_information().item() == pytest.approx(LN2)
        assert mixture.epistemic_variance().item() == pytest.approx(1 / 4)
        assert mixture.aleatoric_variance().item() == 0

    def test_members_of_different_shapes_are_refused(self) -> None:
        members: list[Bernoulli | Beta] = [Bernoulli(torch.zeros(2, 1, 3, 4)), Beta(*torch.ones(2, 1, 1, 1, 1))]
        with pytest.raises(ShapeError, match=r"one shape, got \(2, 1, 3, 4\) and \(1, 1, 1, 1\); pass beliefs"):
            Mixture(members)  # they would broadcast

    def test_no_member_is_refused(self) -> None:
        with pytest.raises(BeliefError, match="at least one member"):
            Mixture([])
