"""Models to attack: small, seeded, with every kind of belief and every kind of state."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture


def discs(count: int, *, seed: int = 0, size: int = 20) -> tuple[Tensor, Tensor]:
    """Return noisy images (count, 1, size, size + 3) of bright discs and the masks of the discs."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size + 3), indexing="ij")
    centre = size * (0.3 + 0.4 * torch.rand(count, 2, 1, 1, generator=generator))
    distance = torch.hypot(rows - centre[:, 0], columns - centre[:, 1])
    masks = (distance < size * (0.15 + 0.15 * torch.rand(count, 1, 1, generator=generator))).float()[:, None]
    noise = 0.17 * (torch.rand(masks.shape, generator=generator) - 0.5)
    return 0.4 + 0.16 * masks + noise, masks


def as_bernoulli(maps: Tensor) -> Belief:
    return Bernoulli(maps[:, :1] - maps[:, 1:])


def as_beta(maps: Tensor) -> Belief:
    return Beta(1 + nn.functional.softplus(maps[:, :1]), 1 + nn.functional.softplus(maps[:, 1:]))


def as_mixture(maps: Tensor) -> Belief:
    return Mixture([Bernoulli(maps[:, :1]), Bernoulli(-maps[:, 1:])])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixelwise(weights: Tensor) -> Callable[[Tensor], Belief]:
    """Return a victim whose log-odds are weights * images, so that every margin objective is linear in the images."""
    return lambda images: Bernoulli(weights * images)


def hyperplane(weights: Tensor, offset: float) -> Callable[[Tensor], Belief]:
    """Return a victim that gives all pixels of an image the log-odds <weights, image> + offset."""

    def model(images: Tensor) -> Belief:
        odds = (weights * images).sum(dim=(1, 2, 3), keepdim=True) + offset
        return Bernoulli(odds.expand_as(images))

    return model


def steep(scale: float, *, members: int = 1) -> Callable[[Tensor], Belief]:
    """Return a victim that finds foreground where brighter than 0.5, with log-odds of scale * (image - 0.5).

    A second member is twice as sure and decides alike.
    """
    if members == 1:
        return lambda images: Bernoulli(scale * (images - 0.5))
    return lambda images: Mixture([Bernoulli(scale * factor * (images - 0.5)) for factor in (1, 2)])


def distances() -> tuple[Tensor, Tensor, Tensor]:
    """Return images on which ``steep`` is right, their masks, and the pixels less than 1/16 away from the threshold."""
    generator = seeded(5)
    masks = (torch.rand(3, 1, 5, 7, generator=generator) > 0.5).float()
    steps = torch.randint(1, 4, masks.shape, generator=generator)  # distances of 1/32, 3/64 and 1/8
    distance = torch.tensor([0.0, 1 / 32, 3 / 64, 1 / 8])[steps]
    return 0.5 + (2 * masks - 1) * distance, masks, distance < 1 / 16


def linear_case() -> tuple[Tensor, Tensor, Tensor]:
    """Return weights for ``pixelwise``, images away from the edge of the box, and masks."""
    generator = seeded(3)
    weights = torch.randn(1, 1, 5, 7, generator=generator)
    images = 0.3 + 0.4 * torch.rand(3, 1, 5, 7, generator=generator)
    masks = (torch.rand(3, 1, 5, 7, generator=generator) > 0.5).float()
    return weights, images, masks


HEADS: Final = {"bernoulli": as_bernoulli, "beta": as_beta, "mixture": as_mixture}


class Victim(nn.Module):
    """Two convolutions with batch norm and dropout between them, and a head; computes in the type of its weights."""

    def __init__(self, head: str, *, scale: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 2, 3, padding=1)
        )
        self.head: Callable[[Tensor], Belief] = HEADS[head]
        self.scale = scale

    def forward(self, images: Tensor) -> Belief:
        return self.head(self.scale * self.body(images.to(next(self.parameters()))))

    def belief(self, images: Tensor) -> Belief:
        belief: Belief = self(images)
        return belief


def finder(head: str, *, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Victim:
    """Return a victim in eval mode that finds the discs, set by hand; ``scale`` multiplies its outputs.

    Two blurs see how bright the neighbourhood of a pixel is; the rectifiers between them make it count for more or
    less between thresholds around 0.48, which lies halfway between disc and background. The kernels are lopsided, so
    that no gradient cancels to exactly 0. In double precision an attack takes the same path on every machine.
    """
    victim = Victim(head, scale=scale)
    first, norm, _, _, last = victim.body
    assert isinstance(first, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(last, nn.Conv2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert last.bias is not None
    assert first.bias is not None
    thresholds, rising = torch.tensor([0.40, 0.44, 0.47, 0.49, 0.47, 0.49, 0.52, 0.56]), torch.arange(8) < 4
    sides = torch.where(rising, 1.0, -1.0)
    blur = torch.tensor([[0.06, 0.13, 0.07], [0.12, 0.25, 0.11], [0.08, 0.14, 0.04]])
    with torch.no_grad():
        first.weight[:] = sides.view(8, 1, 1, 1) * blur * torch.linspace(0.9, 1.1, 8).view(8, 1, 1, 1)
        first.bias[:] = 0.1 * sides  # which the running mean takes away again
        norm.running_mean[:] = sides * (0.1 + thresholds * torch.linspace(0.9, 1.1, 8))
        norm.running_var[:] = 0.01
        gains = sides * torch.tensor([1.0, 1.2, 0.8, 1.1, 1.2, 0.9, 1.0, 0.8])
        last.weight[0] = 1.5 * gains.view(8, 1, 1) * blur.T
        last.weight[1] = -1.2 * gains.view(8, 1, 1) * blur.flip(0)
        last.bias[:] = 0.0
    return victim.to(dtype).eval()


def dice(belief: Belief, masks: Tensor) -> Tensor:
    """Return the Dice overlap (B,) of non-empty masks, written out for the tests."""
    predicted = (belief.probability > 0.5).double()
    overlap = (predicted * masks).sum(dim=(1, 2, 3))
    return 2 * overlap / (predicted.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3)))
