"""GradAlign against closed forms of a model that is linear and of one that is quadratic in the grey level."""

from pathlib import Path

import polars as pl
import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.tiny import config, pack, same_weights
from torch import Tensor, nn

from trustseg.attacks.projections import LINF
from trustseg.errors import ConfigError
from trustseg.models import Segmenter
from trustseg.models.spec import SegmenterSpec
from trustseg.training import train
from trustseg.training.grad_align import grad_align, gradient_alignment

EPS = 16 / 255
IMAGES = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
MASKS = (IMAGES > 0.6).float()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(2)


class Power(nn.Module):
    """Log-odds of each pixel: weight times a power of what the segmenter makes of its grey level."""

    def __init__(self, power: int, weight: float) -> None:
        super().__init__()
        self.power = power
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.weight * images**self.power
        return logits


def model(power: int, weight: float = 0.7) -> Segmenter:
    spec = SegmenterSpec("unet", "resnet18", "bernoulli", size=32, mean=(0.0,), deviation=(1.0,))
    return Segmenter(spec, Power(power, weight)).train()


def closed_form(power: int, weight: Tensor) -> Tensor:
    """1 - cos of -s sigmoid(-s w x^n) w n x^(n - 1) at x and at x + d, in float64."""
    nearby = LINF.start(IMAGES, torch.full((3, 1, 1, 1), EPS), seeded())
    signs = (2 * MASKS - 1).double()
    gradients = [
        (-signs * torch.sigmoid(-signs * weight * x**power) * weight * power * x ** (power - 1)).flatten(1)
        for x in (IMAGES.double(), nearby.double())
    ]
    lengths = [gradient.norm(dim=1) for gradient in gradients]
    misalignment: Tensor = 1 - (gradients[0] * gradients[1]).sum(dim=1) / (lengths[0] * lengths[1])
    return misalignment


@pytest.mark.parametrize("power", [1, 2])
def test_value_and_gradient_in_closed_form(power: int) -> None:
    segmenter = model(power, weight=5.0)
    weight = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    expected = closed_form(power, weight)
    found = grad_align(segmenter, IMAGES, MASKS, eps=EPS, generator=seeded())
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-6)
    (wanted,) = torch.autograd.grad(expected.sum(), weight)
    (got,) = torch.autograd.grad(found.sum(), list(segmenter.parameters()))
    torch.testing.assert_close(got.double(), wanted, rtol=1e-3, atol=1e-6)
    assert abs(float(wanted)) > 1e-4


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_it_is_what_the_watch_sees(head: str) -> None:
    segmenter = small_segmenter(head).train()
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    found = grad_align(segmenter, IMAGES, MASKS, eps=EPS, generator=seeded())
    seen = gradient_alignment(segmenter, IMAGES, MASKS, eps=EPS, generator=seeded())
    torch.testing.assert_close(found.detach(), 1 - seen)
    assert segmenter.training
    assert all(torch.equal(value, before[name]) for name, value in segmenter.state_dict().items())
    assert all(weight.grad is None for weight in segmenter.parameters())


def test_no_gradient_no_loss() -> None:
    segmenter = small_segmenter()
    nn.init.zeros_(segmenter.network[3].weight)  # type: ignore[index]  # the last layer
    found = grad_align(segmenter, IMAGES, MASKS, eps=EPS, generator=seeded())
    assert found.tolist() == [0, 0, 0]
    found.sum().backward()  # type: ignore[no-untyped-call]
    grown = [weight.grad for weight in segmenter.parameters() if weight.grad is not None]
    assert all(not gradient.any() for gradient in grown)


def test_a_training_minimises_it(tmp_path: Path) -> None:
    last = "training.monitor=last"
    with_it = train(config("adversarial.grad_align=5", last), pack(), tmp_path / "with")
    without = train(config(last), pack(), tmp_path / "without")
    assert not same_weights(with_it, without)
    table = pl.read_csv(tmp_path / "with" / "metrics.csv")
    assert table["train_grad_align"].to_list()[0] is None  # the warm-up
    assert (table["train_grad_align"].drop_nulls() > 0).all()
    assert "train_grad_align" not in pl.read_csv(tmp_path / "without" / "metrics.csv").columns


def test_a_compiled_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.compile=false"):
        config("adversarial.grad_align=0.2", "training.compile=true")
