"""Whatever evaluation is given answers alike: every kind of model is held against one contract."""

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from torch import nn

from trustseg.calibration import Calibrated, Calibration
from trustseg.models import BeliefModel, DeepEnsemble, MCDropout

IMAGES = torch.rand(3, 1, 32, 40, generator=torch.Generator().manual_seed(0))
SCALED = Calibration("evidence_scaling", {"scale": 0.5}, "validation", 1, 1, "", 1.0, 0.5)
KINDS = {"segmenter": 1, "calibrated": 1, "sampled": 3, "ensemble": 2, "calibrated ensemble": 2}


def build(kind: str, *, seed: int = 0) -> BeliefModel:
    """Return a model of a kind; the seed decides its weights, not its form."""
    first, second = small_segmenter(seed=seed), small_segmenter(seed=seed + 10)
    if kind == "segmenter":
        return first
    if kind == "sampled":
        assert isinstance(first.network, nn.Sequential)
        first.network.insert(3, nn.Dropout2d(0.3))
        return MCDropout(first, samples=3)
    if kind == "ensemble":
        return DeepEnsemble([first, second])
    calibrated = Calibrated(first, SCALED)
    return calibrated if kind == "calibrated" else DeepEnsemble([calibrated, second])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_called_as_it_believes(kind: str) -> None:
    model = build(kind).eval()
    with torch.no_grad():
        called, believed = model(IMAGES), model.belief(IMAGES)
    assert called.probability.shape == (3, 1, 32, 40)
    torch.testing.assert_close(called.probability, believed.probability)
    assert float(called.probability.std()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_believed_the_same_alone(kind: str) -> None:
    model = build(kind).eval()
    with torch.no_grad():
        together = model.belief(IMAGES).probability
        alone = torch.cat([model.belief(IMAGES[[row]]).probability for row in range(3)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("kind", KINDS)
def test_passes_are_what_a_belief_takes(kind: str) -> None:
    model, seen = build(kind).eval(), 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal seen
        seen += 1

    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 1:  # the first layer of each network
            module.register_forward_hook(count)
    with torch.no_grad():
        model.belief(IMAGES)
    assert seen == model.passes == KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_tell_models_apart_and_nothing_else(kind: str) -> None:
    model, same, other = build(kind).eval(), build(kind).eval(), build(kind, seed=1).eval()
    before = model.weights()
    with torch.no_grad():
        model.belief(IMAGES)
    assert model.weights() == before == same.weights() != other.weights()
    assert model.spec == same.spec


def test_kinds_of_the_same_weights_are_told_apart() -> None:
    assert len({build(kind).eval().weights() for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_returns_itself_and_holds_itself(kind: str) -> None:
    model = build(kind)
    assert model.eval() is model
    assert model.to("cpu") is model
    held = list(model.modules())
    assert id(model) in map(id, held)
    assert not any(module.training for module in held if isinstance(module, nn.BatchNorm2d))
