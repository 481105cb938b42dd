"""Models to attack: small, seeded, with every kind of belief and every kind of state."""

from collections.abc import Callable
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn

from trustseg.attacks.objectives import cross_entropy
from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture


def discs(count: int, *, seed: int = 0, size: int = 20) -> tuple[Tensor, Tensor]:
    """Return noisy images (count, 1, size, size + 3) of bright discs and the masks of the discs."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size + 3), indexing="ij")
    centre = size * (0.3 + 0.4 * torch.rand(count, 2, 1, 1, generator=generator))
    distance = torch.hypot(rows - centre[:, 0], columns - centre[:, 1])
    masks = (distance < size * (0.15 + 0.15 * torch.rand(count, 1, 1, generator=generator))).float()[:, None]
    noise = 0.05 * torch.randn(masks.shape, generator=generator)
    return (0.4 + 0.16 * masks + noise).clamp(0, 1), masks


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


def linear_case() -> tuple[Tensor, Tensor, Tensor]:
    """Return weights for ``pixelwise``, images away from the edge of the box, and masks."""
    generator = seeded(3)
    weights = torch.randn(1, 1, 5, 7, generator=generator)
    images = 0.3 + 0.4 * torch.rand(3, 1, 5, 7, generator=generator)
    masks = (torch.rand(3, 1, 5, 7, generator=generator) > 0.5).float()
    return weights, images, masks


HEADS: Final = {"bernoulli": as_bernoulli, "beta": as_beta, "mixture": as_mixture}


class Victim(nn.Module):
    """Two convolutions with batch norm and dropout between them, and a head."""

    def __init__(self, head: str, *, scale: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(8, 2, 3, padding=1),
        )
        self.head: Callable[[Tensor], Belief] = HEADS[head]
        self.scale = scale

    def forward(self, images: Tensor) -> Belief:
        return self.head(self.scale * self.body(images))

    def belief(self, images: Tensor) -> Belief:
        belief: Belief = self(images)
        return belief


@cache
def _trained_weights(head: str) -> dict[str, Tensor]:
    images, masks = discs(24, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        victim = Victim(head)
        optimiser = torch.optim.Adam(victim.parameters(), lr=0.05)
        for _ in range(60):
            optimiser.zero_grad()
            cross_entropy(victim(images), masks).mean().backward()  # type: ignore[no-untyped-call]  # torch
            optimiser.step()
    return victim.state_dict()


def trained(head: str, *, scale: float = 1.0) -> Victim:
    """Return a fresh copy, in eval mode, of a victim that finds the discs; ``scale`` multiplies its outputs."""
    victim = Victim(head, scale=scale)
    victim.load_state_dict(_trained_weights(head))
    return victim.eval()


def dice(belief: Belief, masks: Tensor) -> Tensor:
    """Return the Dice overlap (B,) of non-empty masks, written out for the tests."""
    predicted = (belief.probability > 0.5).double()
    overlap = (predicted * masks).sum(dim=(1, 2, 3))
    return 2 * overlap / (predicted.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3)))
