"""Small segmenters of every architecture, and their gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from trustseg.models import Segmenter, build_segmenter

SMALL = "tu-test_resnet"  # a thirtieth of the weights of resnet18


def smallest_encoder(architecture: str) -> str:
    return "resnet50" if architecture == "fcn" else SMALL


def build(architecture: str = "unet", *, head: str = "beta", seed: int = 0, **options: Any) -> Segmenter:  # noqa: ANN401
    """Return a segmenter in evaluation mode whose weights a seed decides; options as ``build_segmenter``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = smallest_encoder(architecture)
        return build_segmenter(architecture=architecture, encoder=encoder, head=head, **({"size": 32} | options)).eval()


def gradient(model: nn.Module, images: Tensor) -> Tensor:
    """Return how the sum of the log-odds changes with the images."""
    images = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(images).log_odds.sum(), images)
    return found
