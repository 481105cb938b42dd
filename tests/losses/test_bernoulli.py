"""Binary cross-entropy, held against the library's form and against the limits that form loses."""

import math

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.losses import binary_cross_entropy, type_ii_likelihood

SHAPE = (3, 1, 4, 5)


def test_equals_the_library_where_that_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    masks = (torch.rand(SHAPE, generator=generator) < 0.3).double()
    expected = binary_cross_entropy_with_logits(logits, masks, reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(binary_cross_entropy(Bernoulli(logits), masks), expected)


def test_of_a_beta_is_type_ii_likelihood() -> None:
    generator = torch.Generator().manual_seed(1)
    masks = (torch.rand(SHAPE, generator=generator) < 0.5).float()
    for scale in (1e-3, 1.0, 1e6):
        evidence = scale * torch.rand(2, *SHAPE, generator=generator)
        belief = Beta(1 + evidence[0], 1 + evidence[1])
        torch.testing.assert_close(
            binary_cross_entropy(belief, masks), type_ii_likelihood(belief, masks), rtol=1e-5, atol=1e-6
        )


def test_of_a_mixture_is_that_of_the_mean() -> None:
    logits = torch.tensor([[[[2.0]]], [[[-1.0]]]], dtype=torch.float64)
    mixture = Mixture([Bernoulli(logits), Bernoulli(-3 * logits)])
    ones = torch.ones(2, 1, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(binary_cross_entropy(mixture, ones), -mixture.probability.log().flatten())


def test_gradient_lives_on_a_confident_correct_pixel() -> None:
    # The library's form has a gradient of exactly 0 here from logit 17 on in float32.
    logits = torch.tensor([[[[17.0]]], [[[60.0]]], [[[-60.0]]]], requires_grad=True)
    masks = torch.tensor([[[[1.0]]], [[[1.0]]], [[[0.0]]]])
    (gradient,) = torch.autograd.grad(binary_cross_entropy(Bernoulli(logits), masks).sum(), logits)
    expected = torch.tensor([-math.exp(-17), -math.exp(-60), math.exp(-60)])
    torch.testing.assert_close(gradient.flatten(), expected, rtol=1e-5, atol=0)


def test_certainty() -> None:
    masks = torch.tensor([[[[1.0, 0.0]]]])
    sure = torch.tensor([[[[math.inf, -math.inf]]]], requires_grad=True)
    loss = binary_cross_entropy(Bernoulli(sure), masks)
    assert loss.item() == 0
    assert torch.autograd.grad(loss.sum(), sure)[0].tolist() == [[[[0, 0]]]]
    assert binary_cross_entropy(Bernoulli(-sure), masks).item() == math.inf
    assert binary_cross_entropy(Bernoulli(sure * math.nan), masks).isnan().all()
