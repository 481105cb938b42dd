"""The fast copy against the model itself, with statistics and weights far from their first values."""

import pytest
import torch
from tests.models.built import build, gradient
from torch import Tensor, nn

from trustseg.beliefs import Belief
from trustseg.calibration import Calibrated, Calibration
from trustseg.models import BeliefModel, DeepEnsemble, MCDropout, device_of
from trustseg.models.architectures import ARCHITECTURES
from trustseg.models.inference import fast_forward
from trustseg.models.segmenter import Segmenter


def experienced(architecture: str, *, head: str = "beta") -> Segmenter:
    """Return a model whose batch normalisations have seen something."""
    segmenter = build(architecture, head=head)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in segmenter.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.1)
    return segmenter


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_belief_and_gradient_are_those_of_the_model(architecture: str) -> None:
    segmenter = experienced(architecture)
    images = torch.rand(2, 1, 64, 70, generator=torch.Generator().manual_seed(0))
    with fast_forward(segmenter) as fast:
        assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())  # every one was folded
        with torch.no_grad():
            torch.testing.assert_close(
                fast.belief(images).log_odds, segmenter.belief(images).log_odds, atol=1e-4, rtol=0
            )
        own = gradient(segmenter, images)  # compared in norm: a unit within rounding of 0 passes a gradient or does not
        assert float((gradient(fast, images) - own).norm() / own.norm()) < 1e-2


def test_the_model_is_not_touched() -> None:
    segmenter = experienced("unet").train()
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    with fast_forward(segmenter) as fast:
        assert not fast.training
        assert not any(weight.requires_grad for weight in fast.parameters())
    assert all(module.training for module in segmenter.modules())
    assert all(weight.requires_grad for weight in segmenter.parameters())
    assert all(torch.equal(value, before[name]) for name, value in segmenter.state_dict().items())
    assert not any(module._forward_hooks for module in segmenter.modules())


class Shared(nn.Module):
    """A convolution that runs twice, and one whose output is read twice: neither may be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(1, 1, 3, padding=1)
        self.normalise = nn.BatchNorm2d(1)
        self.last = nn.Conv2d(1, 1, 3, padding=1)
        self.after = nn.BatchNorm2d(1)
        self.head = nn.Conv2d(1, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        values = self.normalise(self.twice(self.twice(images)))
        found = self.last(values)
        logits: Tensor = self.head(self.after(found)) + self.head(found)
        return logits


def test_what_is_shared_is_left_alone() -> None:
    segmenter = Segmenter(experienced("unet").spec, Shared()).eval()
    images = torch.rand(1, 1, 32, 32)
    with fast_forward(segmenter) as fast, torch.no_grad():
        assert sum(isinstance(module, nn.BatchNorm2d) for module in fast.modules()) == 2
        torch.testing.assert_close(fast.belief(images).log_odds, segmenter.belief(images).log_odds)


def mixtures() -> dict[str, BeliefModel]:
    scaled = Calibration("evidence_scaling", {"scale": 0.5}, "validation", 1, 1, "", 1.0, 0.5)
    members: list[BeliefModel] = [experienced("unet"), Calibrated(experienced("fpn"), scaled).eval()]
    return {
        "sampled": MCDropout(experienced("unet"), samples=3, rate=0.3),
        "fcn sampled": MCDropout(experienced("fcn"), samples=2),
        "ensemble": DeepEnsemble(members).eval(),
        "calibrated": members[1],
    }


@pytest.mark.parametrize("name", ["sampled", "fcn sampled", "ensemble", "calibrated"])
def test_what_holds_segmenters_is_folded_too(name: str) -> None:
    model = mixtures()[name]
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))

    def epistemic(belief: Belief) -> Tensor:
        return belief.uncertainty("epistemic_variance")

    with fast_forward(model) as fast, torch.no_grad():
        assert type(fast) is type(model)
        assert fast.passes == model.passes
        assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
        assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        torch.testing.assert_close(fast.belief(images).log_odds, model.belief(images).log_odds, atol=1e-4, rtol=0)
        torch.testing.assert_close(
            epistemic(fast.belief(images)), epistemic(model.belief(images)), atol=1e-5, rtol=1e-3
        )


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda", "cpu"])
def test_a_gpu_is_taken_where_there_is_one_and_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, has_gpu: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert device_of(accelerator) == ("cuda" if has_gpu and accelerator != "cpu" else "cpu")
