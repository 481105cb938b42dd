"""A model as the toolbox sees it: values and gradients are those of the objective, and no call leaves a trace."""

import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tests.art.conftest import EPS, SHAPE, Network, needs_art
from tests.attacks.victims import discs, finder, seeded
from torch import nn

from trustseg.attacks import OBJECTIVES, fgsm
from trustseg.beliefs import Bernoulli
from trustseg.errors import AttackError, ShapeError


@needs_art
def test_gradient_and_loss_are_those_of_the_objective(bridge: ModuleType) -> None:
    images, masks = discs(5, seed=4)
    victim = finder("beta")
    estimator = bridge.Segmentation(victim, input_shape=SHAPE, objective="digamma")
    leaf = images.clone().requires_grad_()
    values = OBJECTIVES["digamma"](victim(leaf), masks, 0.0)
    (expected,) = torch.autograd.grad(values.sum(), leaf)
    assert np.array_equal(estimator.loss_gradient(images.numpy(), masks.numpy()), expected.numpy())
    np.testing.assert_allclose(
        estimator.compute_loss(images.numpy(), masks.numpy().astype(bool)), values.detach().numpy(), rtol=1e-6
    )
    probability = estimator.predict(images.numpy(), batch_size=2)
    np.testing.assert_allclose(probability, victim(images).probability.detach().numpy(), rtol=0, atol=1e-6)
    assert probability.dtype == np.float32
    assert estimator.input_shape == SHAPE


def snapshot(module: nn.Module) -> list[object]:
    """Return everything an attack might have touched."""
    tensors = [tensor.clone() for tensor in module.state_dict().values()]
    flags = [part.training for part in module.modules()]
    grads = [parameter.grad for parameter in module.parameters()]
    states = [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]
    return [[tensor.tolist() for tensor in tensors], flags, grads, states]


@needs_art
def test_any_module_with_one_logit_and_leaves_no_trace(bridge: ModuleType, evasion: ModuleType) -> None:
    images, masks = discs(4, seed=5)
    network = Network()
    before = snapshot(network)
    estimator = bridge.Segmentation.of_logits(network, input_shape=SHAPE)
    theirs = evasion.FastGradientMethod(estimator, eps=EPS).generate(images.numpy(), masks.numpy())
    assert snapshot(network) == before
    for name in bridge.ART_ATTACKS:
        steps = None if name == "FastGradientMethod" else 3
        options: dict[str, Any] = {"eps": EPS, "steps": steps, "generator": seeded(), "parameters": {}}
        bridge.run_art(name, estimator.model, images, masks, **options)
        assert snapshot(network) == before, name
    network.eval()
    ours = fgsm(lambda batch: Bernoulli(network(batch)), images, masks, eps=EPS, keep_best=False)
    assert np.array_equal(ours.numpy(), theirs)


@needs_art
def test_a_module_with_other_outputs_is_refused(bridge: ModuleType) -> None:
    with pytest.raises(ShapeError, match=r"logits \(B, 1, H, W\), got \(2, 2, 4, 4\)"):
        bridge.Segmentation.of_logits(Network(2), input_shape=SHAPE).model(torch.zeros(2, 1, 4, 4))


@needs_art
def test_masks_are_mandatory_and_binary(bridge: ModuleType, evasion: ModuleType) -> None:
    images = discs(3)[0].numpy()
    estimator = bridge.Segmentation(finder("bernoulli"), input_shape=SHAPE)
    with pytest.raises(AttackError, match="y is None, expected reference masks"):
        estimator.loss_gradient(images, None)
    with pytest.raises(ShapeError, match="masks must hold only 0 and 1"):
        # Without masks ART attacks the model's own probabilities.
        evasion.FastGradientMethod(estimator, eps=EPS).generate(images)


@needs_art
@pytest.mark.parametrize("call", [lambda e: e.fit(None, None), lambda e: e.get_activations(None, 0, 1)])
def test_what_a_belief_cannot_do_says_so(bridge: ModuleType, call: Callable[[Any], object]) -> None:
    estimator = bridge.Segmentation(finder("bernoulli"), input_shape=SHAPE)
    with pytest.raises(AttackError, match=r"trustseg train|ProjectedGradientDescent"):
        call(estimator)
