import math

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity, one_hot, softmax

from trustseg import losses
from trustseg.attacks import OBJECTIVES
from trustseg.attacks.objectives import find_objective
from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture, mapped
from trustseg.errors import BeliefError, UnknownNameError

BETA_ONLY = {"digamma", "evidence_margin"}
ANY_BELIEF = sorted(set(OBJECTIVES) - BETA_ONLY)


def one_pixel(margin: float, *, y: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Bernoulli, Tensor]:
    """Return belief and mask of one pixel with this margin."""
    return Bernoulli(torch.full((1, 1, 1, 1), margin * (2 * y - 1), dtype=dtype)), torch.full((1, 1, 1, 1), float(y))


def value(name: str, margin: float, *, y: int = 1, progress: float = 0.0) -> float:
    belief, masks = one_pixel(margin, y=y)
    return OBJECTIVES[name](belief, masks.double(), progress).item()


def slope(name: str, margin: float, *, y: int = 1, dtype: torch.dtype = torch.float32) -> float:
    """Return the derivative with respect to the log-odds."""
    belief, masks = one_pixel(margin, y=y, dtype=dtype)
    logits = belief.logits.requires_grad_()
    (gradient,) = torch.autograd.grad(OBJECTIVES[name](belief, masks.to(dtype), 0.0).sum(), logits)
    return gradient.item()


def beliefs(dtype: torch.dtype = torch.float64) -> tuple[dict[str, Belief], Tensor]:
    """Return one belief of each kind about masks (3, 1, 3, 5): mixed, empty, full."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 1, 3, 5, generator=generator, dtype=dtype)
    other = torch.randn(3, 1, 3, 5, generator=generator, dtype=dtype)
    masks = (torch.rand(3, 1, 3, 5, generator=generator) > 0.6).to(dtype)
    masks[1], masks[2] = 0, 1
    kinds: dict[str, Belief] = {
        "bernoulli": Bernoulli(logits),
        "beta": Beta(1 + logits.exp(), 1 + other.exp()),
        "mixture": Mixture([Bernoulli(logits), Bernoulli(other)]),
    }
    return kinds, masks


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", math.log(2)),
        ("cospgd", math.log(2) / math.sqrt(2)),
        ("jensen_shannon", 0.215762),
        ("segpgd", 0.0),
        ("masked_cross_entropy", 0.0),
        ("margin", 0.0),
        ("masked_margin", 0.0),
    ],
)
@pytest.mark.parametrize("y", [0, 1])
def test_value_at_margin_zero(name: str, expected: float, y: int) -> None:
    assert value(name, 0.0, y=y) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("margin", [-30.0, -2.0, 0.3, 5.0, 30.0])
def test_cross_entropy_is_the_usual_one(margin: float, y: int) -> None:
    belief, masks = one_pixel(margin, y=y)
    usual = binary_cross_entropy_with_logits(belief.logits, masks.double())
    assert value("cross_entropy", margin, y=y) == pytest.approx(usual.item(), abs=1e-7)


@pytest.mark.parametrize("margin", [-8.0, -1.0, 0.5, 8.0])
def test_cospgd_weight_is_the_cosine_of_two_logits(margin: float) -> None:
    scores = softmax(torch.tensor([[0.0, margin]], dtype=torch.float64), dim=1)
    cosine = cosine_similarity(scores, one_hot(torch.tensor([1]), 2).double()).item()
    assert value("cospgd", margin) == pytest.approx(cosine * value("cross_entropy", margin), rel=1e-12)


@pytest.mark.parametrize("margin", [-8.0, -1.0, 0.5, 8.0])
@pytest.mark.parametrize("y", [0, 1])
def test_jensen_shannon_is_the_divergence_between_two_distributions(margin: float, y: int) -> None:
    right = 1 / (1 + math.exp(-margin))
    first, second = torch.tensor([right, 1 - right]), torch.tensor([1.0, 0.0])
    middle = (first + second) / 2
    by_hand = (torch.special.xlogy(first, first / middle) + torch.special.xlogy(second, second / middle)).sum() / 2
    assert value("jensen_shannon", margin, y=y) == pytest.approx(by_hand.item(), abs=1e-6)


def test_segpgd_moves_from_right_pixels_to_both_alike() -> None:
    steps = 4  # lam = (t - 1) / (2 T) for t = 1..T
    weights = [value("segpgd", 1.0, progress=t / steps) / value("cross_entropy", 1.0) for t in range(steps)]
    assert weights == pytest.approx([1, 7 / 8, 6 / 8, 5 / 8])
    weights = [value("segpgd", -1.0, progress=t / steps) / value("cross_entropy", -1.0) for t in range(steps)]
    assert weights == pytest.approx([0, 1 / 8, 2 / 8, 3 / 8])


@pytest.mark.parametrize("y", [0, 1])
def test_masked_objectives_let_go_of_lost_pixels(y: int) -> None:
    assert value("masked_cross_entropy", 2.0, y=y) == value("cross_entropy", 2.0, y=y)
    assert value("masked_cross_entropy", -2.0, y=y) == 0
    assert value("masked_margin", 2.0, y=y) == -2
    assert value("masked_margin", -0.5, y=y) == 0.5
    assert value("masked_margin", -1.5, y=y) == 0


def test_balanced_masked_cross_entropy_weighs_classes_alike() -> None:
    logits = torch.tensor([[[[1.0, -1.0, -1.0, 2.0]]]])  # foreground right; background right, right, lost
    masks = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    right = math.log1p(math.exp(-1))
    balanced = OBJECTIVES["balanced_masked_cross_entropy"]
    assert balanced(Bernoulli(logits), masks, 0.0).item() == pytest.approx((right + 2 * right / 3) / 2)
    empty = balanced(Bernoulli(logits), torch.zeros_like(masks), 0.0).item()
    assert empty == pytest.approx(2 * right / 4 / 2)


def test_soft_dice_is_the_loss_where_there_is_foreground_and_cross_entropy_where_not() -> None:
    kinds, masks = beliefs()
    for belief in kinds.values():
        got = OBJECTIVES["soft_dice"](belief, masks, 0.0)
        expected = losses.soft_dice(belief, masks)
        torch.testing.assert_close(got[[0, 2]], expected[[0, 2]])
        torch.testing.assert_close(got[1], OBJECTIVES["cross_entropy"](belief, masks, 0.0)[1])


@pytest.mark.parametrize("name", sorted(BETA_ONLY))
def test_objectives_on_evidence_refuse_other_beliefs(name: str) -> None:
    kinds, masks = beliefs()
    for kind in ("bernoulli", "mixture"):
        with pytest.raises(BeliefError, match=f"^{name} needs a Beta belief"):
            OBJECTIVES[name](kinds[kind], masks, 0.0)


@pytest.mark.parametrize("name", sorted(set(ANY_BELIEF) - {"masked_margin"}))
@pytest.mark.parametrize("y", [0, 1])
def test_gradient_lives_where_that_of_the_usual_cross_entropy_is_exactly_zero(name: str, y: int) -> None:
    logits = torch.full((1, 1, 1, 1), 20.0, requires_grad=True)
    usual = binary_cross_entropy_with_logits(logits, torch.ones(1, 1, 1, 1))
    assert torch.autograd.grad(usual, logits)[0].item() == 0
    for margin in (20.0, 80.0):
        got = slope(name, margin, y=y)
        assert got * (1 - 2 * y) > 0
        assert got == pytest.approx(slope(name, margin, y=y, dtype=torch.float64), rel=1e-4)


@pytest.mark.parametrize("name", ANY_BELIEF)
def test_a_margin_of_infinity_is_no_reason_to_fail(name: str) -> None:
    logits = torch.tensor([[[[math.inf, 0.5]]]])
    got = OBJECTIVES[name](Bernoulli(logits), torch.ones(1, 1, 1, 2), 0.0)
    assert got.isfinite().all() == (name not in {"margin", "masked_margin"})


def flipped(belief: Belief) -> Belief:
    """Return the belief about the images in reverse order."""
    if isinstance(belief, Mixture):
        return Mixture([mapped(member, lambda values: values.flip(0)) for member in belief.members])
    return mapped(belief, lambda values: values.flip(0))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in OBJECTIVES
        for kind in ("bernoulli", "beta", "mixture")
        if name not in BETA_ONLY or kind == "beta"
    ],
)
def test_contract(name: str, kind: str) -> None:
    objective = OBJECTIVES[name]
    kinds, masks = beliefs()
    whole = objective(kinds[kind], masks, 0.5)
    assert whole.shape == (3,)
    assert whole.isfinite().all()
    torch.testing.assert_close(objective(flipped(kinds[kind]), masks.flip(0), 0.5).flip(0), whole)


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"cospgd"}))  # its weights are held constant on purpose
def test_gradient_is_the_derivative(name: str) -> None:
    kinds, masks = beliefs()
    beta = kinds["beta"]
    assert isinstance(beta, Beta)
    alpha, other = beta.alpha.requires_grad_(), beta.beta.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: OBJECTIVES[name](Beta(a, b), masks, 0.5), (alpha, other))


def test_find_objective() -> None:
    assert find_objective("margin") is OBJECTIVES["margin"]
    assert find_objective(OBJECTIVES["margin"]) is OBJECTIVES["margin"]
    with pytest.raises(UnknownNameError, match="did you mean 'margin'"):
        find_objective("margins")


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (5.5, 2.0), (2.0, 30.0)])
@pytest.mark.parametrize("y", [0, 1])
def test_digamma_is_the_expected_cross_entropy(alpha: float, beta: float, y: int) -> None:
    def integrand(theta: float) -> float:
        return float(-math.log(theta if y else 1 - theta) * stats.beta.pdf(theta, alpha, beta))

    pixel = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    got = OBJECTIVES["digamma"](Beta(alpha * pixel, beta * pixel), y * pixel, 0.0).item()
    assert got == pytest.approx(integrate.quad(integrand, 0, 1)[0], rel=1e-6)


def test_evidence_margin_by_hand() -> None:
    alpha = torch.tensor([[[[3.0, 1.0, 2.0]]], [[[1.0, 1.0, 1.0]]]])
    beta = torch.tensor([[[[1.0, 5.0, 2.0]]], [[[4.0, 1.0, 2.0]]]])
    masks = torch.tensor([[[[1.0, 1.0, 0.0]]], [[[0.0, 0.0, 0.0]]]])
    assert OBJECTIVES["evidence_margin"](Beta(alpha, beta), masks).tolist() == pytest.approx(
        [(-2 + 4 + 0) / 3, (-3 + 0 - 1) / 3]
    )
