"""A smooth model that hides nothing, images it is questioned on, and models that hide their gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from trustseg.beliefs import Belief, Bernoulli, Beta


class Honest(nn.Module):
    """Finds what is brighter than its surroundings: smooth, so its gradients say what it does."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda logits: logits, *, evidential: bool = False) -> None:
        super().__init__()
        self.change = change
        self.evidential = evidential

    def forward(self, images: Tensor) -> Belief:
        local = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        logits = self.change(20 * torch.tanh(2 * (local - 0.5)))
        if self.evidential:
            return Beta(1 + torch.nn.functional.softplus(logits), 1 + torch.nn.functional.softplus(-logits))
        return Bernoulli(logits)


def scene(count: int = 6, side: int = 24) -> tuple[Tensor, Tensor]:
    """Return images of discs and their masks; the contrast about the decision fades to 0 at the rim of the disc."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    radii = torch.linspace(4, 9, count).view(-1, 1, 1)
    inside = (radii - ((rows - side / 2) ** 2 + (columns - side / 2) ** 2).sqrt())[:, None]
    masks = (inside > 0).float()
    images = 0.5 + torch.tanh(inside / 4) * 20 / 255 + 0.005 * torch.randn(masks.shape, generator=generator)
    return images.clamp(0, 1), masks


class Quantised(Honest):
    """Rounds its input, passing gradients straight through at a few pixels only: most have none."""

    def forward(self, images: Tensor) -> Belief:
        steps = (images * 8).round() / 8
        return super().forward(steps + 0.02 * (images - images.detach()) * (images > 0.53))


class Randomised(Honest):
    """Adds noise to its input at every pass, drawn from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: Tensor) -> Belief:
        return super().forward(images + 0.1 * torch.randn(images.shape, generator=self.generator).to(images))

    def __deepcopy__(self, memo: object) -> "Randomised":
        return Randomised()
