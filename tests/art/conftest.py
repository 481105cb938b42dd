"""What the tests of the bridge share: the toolbox, if it is installed, and a network of somebody else."""

from importlib import import_module
from types import ModuleType

import pytest
from torch import Tensor, nn

EPS = 8 / 255
SHAPE = (1, 20, 23)

needs_art = pytest.mark.oracle
heads = pytest.mark.parametrize("head", ["bernoulli", "beta", "mixture"])


@pytest.fixture
def evasion() -> ModuleType:
    pytest.importorskip("art")
    return import_module("art.attacks.evasion")


@pytest.fixture
def bridge(evasion: ModuleType) -> ModuleType:
    return import_module("trustseg.art")


class Network(nn.Module):
    """Somebody else's network: one logit, batch norm, dropout, in training mode."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Conv2d(1, outputs, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits
