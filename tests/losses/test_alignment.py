"""The alignment of two beliefs against golden vectors, worked numbers, torch's own divergences and EV-AT's formula."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from tests.vectors import load_vectors
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Beta as TorchBeta
from torch.distributions import kl_divergence as torch_kl

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError, ConfigError, ShapeError
from trustseg.losses import evidence_alignment, kl_divergence


def one(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=dtype)


def beta(alpha: float, other: float, dtype: torch.dtype = torch.float32) -> Beta:
    return Beta(one(alpha, dtype), one(other, dtype))


def drawn(shape: tuple[int, ...] = (3, 1, 5, 7), dtype: torch.dtype = torch.float32, *, seed: int = 6) -> Beta:
    generator = torch.Generator().manual_seed(seed)
    alpha, other = 1 + torch.randn(2, *shape, generator=generator, dtype=dtype).exp()
    return Beta(alpha, other)


def pair(dtype: torch.dtype = torch.float32) -> tuple[Beta, Beta]:
    return drawn(dtype=dtype), drawn(dtype=dtype, seed=7)


def evidence(*shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return four leaves above 1: alpha and beta of a clean belief and of an attacked one."""
    generator = torch.Generator().manual_seed(6)
    return [(1 + torch.rand(shape, generator=generator, dtype=dtype)).requires_grad_() for _ in range(4)]


def symmetric_kl_divergence(clean: Belief, adversarial: Belief) -> Tensor:
    return evidence_alignment(
        clean, adversarial, squared_weight=0, cross_entropy_weight=0, strength_weight=1, divergence="symmetric_kl"
    )


def aligned(clean: Belief, adversarial: Belief, squared: float, cross_entropy: float, strength: float) -> Tensor:
    return evidence_alignment(
        clean, adversarial, squared_weight=squared, cross_entropy_weight=cross_entropy, strength_weight=strength
    )


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float64, 1e-8, 1e-9), (torch.float32, 1e-4, 1e-6)])
def test_vectors(dtype: torch.dtype, rtol: float, atol: float) -> None:
    for case in load_vectors("evidential")["alignment"]["cases"]:
        clean, adversarial = (beta(alpha, other, dtype) for alpha, other in (case["clean"], case["adversarial"]))
        got = {
            "kl_adversarial_clean": kl_divergence(adversarial, clean),
            "kl_clean_adversarial": kl_divergence(clean, adversarial),
            "symmetric_kl": symmetric_kl_divergence(clean, adversarial),
            "rea_squared": aligned(clean, adversarial, 1, 0, 0),
            "rea_cross_entropy": aligned(clean, adversarial, 0, 1, 0),
            "rea_total": aligned(clean, adversarial, 20, 4, 0),
        }
        assert got.keys() == case["expect"].keys()
        for name, expected in case["expect"].items():
            assert got[name].item() == pytest.approx(expected, rel=rtol, abs=atol), (case, name)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_beta_keeps_its_digits_where_beliefs_are_close(scale: float) -> None:
    """The definition with 50 digits, whose log-Beta terms cancel; in float32 that would leave none of the digits."""
    mp = pytest.importorskip("mpmath")
    before, after = (3 * scale, scale), (3.03 * scale, scale)
    with mp.workdps(50):
        (a, b), (c, d) = (tuple(map(mp.mpf, values)) for values in (before, after))
        expected = mp.log(mp.beta(c, d)) - mp.log(mp.beta(a, b))
        expected += (a - c) * mp.psi(0, a) + (b - d) * mp.psi(0, b) + (c + d - a - b) * mp.psi(0, a + b)
    for dtype, rtol in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        got = kl_divergence(beta(*before, dtype), beta(*after, dtype)).item()
        assert got == pytest.approx(float(expected), rel=rtol), dtype


def test_the_strength_by_hand() -> None:
    """Log-odds alike and ten times the evidence."""
    scaled = beta(100, 30), beta(10, 3)
    assert aligned(*scaled, 1, 0, 0).item() == pytest.approx(0, abs=1e-12)
    assert aligned(*scaled, 0, 0, 1).item() == pytest.approx(math.log(10) ** 2 / 2)
    one_sided = partial(evidence_alignment, squared_weight=0, cross_entropy_weight=0, strength_weight=1, one_sided=True)
    assert one_sided(*scaled).item() == 0
    assert one_sided(scaled[1], scaled[0]).item() == pytest.approx(math.log(10) ** 2 / 2)


def test_equals_torch_distributions() -> None:
    clean, adversarial = pair(torch.float64)
    one_way = torch_kl(TorchBeta(clean.alpha, clean.beta), TorchBeta(adversarial.alpha, adversarial.beta))
    back = torch_kl(TorchBeta(adversarial.alpha, adversarial.beta), TorchBeta(clean.alpha, clean.beta))
    torch.testing.assert_close(kl_divergence(clean, adversarial), one_way.flatten(1).mean(1))
    torch.testing.assert_close(symmetric_kl_divergence(clean, adversarial), (one_way + back).flatten(1).mean(1))
    logits = clean.log_odds, adversarial.log_odds
    bernoulli = torch_kl(*(TorchBernoulli(logits=z) for z in logits))
    divergence = kl_divergence(Bernoulli(logits[0]), Bernoulli(logits[1]))
    torch.testing.assert_close(divergence, bernoulli.flatten(1).mean(1))


def test_without_strength_it_is_the_alignment_of_ev_at() -> None:
    """The paper's sums over pairs of classes, on log alpha, with uniform class weights."""
    clean, adversarial = pair()
    squared_weight, cross_entropy_weight = 20.0, 4.0
    logs = [torch.stack([belief.alpha, belief.beta]).log() for belief in (clean, adversarial)]
    before, after = (log[:, None] - log[None] for log in logs)  # d_ij of both images
    squared = squared_weight / 4 * ((before - after) ** 2).mean(dim=(0, 1))
    p, other = (log.softmax(dim=0) for log in logs)
    expected = squared - cross_entropy_weight * (p * other.log()).sum(dim=0)
    got = aligned(clean, adversarial, squared_weight, cross_entropy_weight, 0)
    torch.testing.assert_close(got, expected.flatten(1).mean(1))


def test_equal_beliefs_do_not_diverge() -> None:
    for belief in (drawn(), beta(1e6, 1e6), Bernoulli(drawn().log_odds)):
        assert kl_divergence(belief, belief).abs().max() < 1e-6
    assert symmetric_kl_divergence(drawn(), drawn()).abs().max() < 1e-6


def test_gradients_reach_both_but_the_cross_entropy_only_the_attacked() -> None:
    leaves = evidence(2, 1, 3, 2)
    clean, adversarial = Beta(leaves[0], leaves[1]), Beta(leaves[2], leaves[3])
    for weights, reaches_clean in (((1, 0, 0), True), ((0, 1, 0), False), ((0, 0, 1), True)):
        gradients = torch.autograd.grad(aligned(clean, adversarial, *weights).sum(), leaves, allow_unused=True)
        assert [g is not None and bool(g.abs().sum() > 0) for g in gradients] == [reaches_clean] * 2 + [True] * 2


def test_gradcheck() -> None:
    leaves = evidence(2, 1, 1, 2, dtype=torch.float64)

    def values(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        clean, adversarial = Beta(a, b), Beta(c, d)
        return aligned(clean, adversarial, 3, 0, 2) + kl_divergence(clean, adversarial)

    assert torch.autograd.gradcheck(values, leaves)
    logits = [leaf.detach().requires_grad_() for leaf in leaves[:2]]
    assert torch.autograd.gradcheck(lambda z, w: kl_divergence(Bernoulli(z), Bernoulli(w)), logits)


def test_edges() -> None:
    """Certain pixels, huge evidence, one image of one pixel."""
    certain = Bernoulli(torch.tensor([math.inf, -math.inf]).view(2, 1, 1, 1))
    unsure = Bernoulli(torch.zeros(2, 1, 1, 1))
    torch.testing.assert_close(kl_divergence(certain, unsure), torch.full((2,), math.log(2)))
    assert kl_divergence(certain, certain).tolist() == [0, 0]
    assert kl_divergence(unsure, certain).isfinite().all()
    assert math.isnan(kl_divergence(beta(math.nan, 1), beta(1, 1)).item())


def test_other_beliefs_are_refused() -> None:
    bernoulli = Bernoulli(one(0))
    for given in ((bernoulli, beta(1, 1)), (beta(1, 1), bernoulli), (Mixture([bernoulli]), Mixture([bernoulli]))):
        with pytest.raises(BeliefError, match="expected two Betas"):
            kl_divergence(*given)
    with pytest.raises(BeliefError, match="got a Bernoulli and a Bernoulli"):
        aligned(bernoulli, bernoulli, 1, 1, 1)


@pytest.mark.parametrize("kind", [Bernoulli, lambda maps: Beta(1 + maps, 1 + maps)])
def test_shapes_that_differ_are_refused(kind: Callable[[Tensor], Belief]) -> None:
    with pytest.raises(ShapeError, match="one shape"):
        kl_divergence(kind(torch.zeros(2, 1, 3, 3)), kind(torch.zeros(2, 1, 3, 1)))


def test_bad_options_are_refused() -> None:
    for position, name in enumerate(("squared_weight", "cross_entropy_weight", "strength_weight")):
        weights = [-1.0 if i == position else 1.0 for i in range(3)]
        with pytest.raises(ConfigError, match=f"{name} must be at least 0, got -1"):
            aligned(*pair(), *weights)
    all_terms = partial(evidence_alignment, squared_weight=1, cross_entropy_weight=1, strength_weight=1)
    with pytest.raises(ConfigError, match="symmetric_kl with one_sided=True; choose"):
        all_terms(*pair(), divergence="symmetric_kl", one_sided=True)
    with pytest.raises(ConfigError, match="got kl with"):
        all_terms(*pair(), divergence="kl")  # type: ignore[arg-type]  # a name that is not known
