"""A network as it is after training, for the tests that look at it or write it down."""

import pytest
import torch
from tests.models.built import SMALL

from trustseg.models import Segmenter, build_segmenter


@pytest.fixture(scope="module")
def trained() -> Segmenter:
    """A beta U-Net whose statistics have moved, as after training."""
    torch.manual_seed(0)
    segmenter = build_segmenter(architecture="unet", encoder=SMALL, head="beta", size=64)
    with torch.no_grad():
        segmenter.belief(torch.rand(2, 1, 32, 32))
    return segmenter.eval()
