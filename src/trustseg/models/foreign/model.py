"""A foreign network as a model: images in, a belief out."""

from typing import Final

import torch
from torch import Tensor, nn

from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import ModelError, ShapeError
from trustseg.models.foreign.conventions import Conventions, log_odds_of, prepared, restored
from trustseg.models.foreign.network import ForeignNetwork
from trustseg.models.spec import SegmenterSpec

__all__ = ["ForeignModel"]


class ForeignModel(nn.Module):
    """A network with the conventions of its input and output, behind the contract of ``trustseg.models``.

    Images (B, C, H, W) of any size, grey or RGB whatever the network takes, give a Bernoulli belief at the size of the
    images.

    Attributes:
        network: what is called.
        conventions: of its input and output.
        name: of its file or function.
        size: side of the squares that it needs, None if any.
        channels: that it takes, 1 or 3.
        gradients: whether beliefs can be differentiated by images.
        digest: SHA-256 of the weights' file, empty if there is none.

    Example:
        >>> from trustseg.models.foreign import Conventions, open_model
        >>> network = open_model(nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Sigmoid()))
        >>> model = ForeignModel(network, Conventions(output="probability"))
        >>> model(torch.rand(1, 1, 40, 50)).log_odds.shape
        torch.Size([1, 1, 40, 50])
    """

    passes: Final = 1

    def __init__(self, network: ForeignNetwork, conventions: Conventions) -> None:
        super().__init__()
        facts = network.facts
        facts.require_size(conventions.size)
        self.network = network
        self.conventions = conventions
        self.name, self.size, self.channels, self.digest = facts.name, facts.size, facts.channels or 3, facts.digest
        self.eval()

    @property
    def gradients(self) -> bool:
        """Return whether beliefs can be differentiated by images."""
        return self.network.gradients and self.conventions.output != "labels"

    @property
    def spec(self) -> SegmenterSpec:
        """Return a description in the form of our own models', with a Bernoulli head."""
        return SegmenterSpec(self.name, "unknown", "bernoulli", channels=self.channels, size=self.size or 224)

    def weights(self) -> bytes:
        """Return what its beliefs depend on besides the code: the hash of its file, and its conventions."""
        return f"{self.digest or self.name} {self.conventions}".encode()

    def description(self) -> list[str]:
        """Return what was found, in sentences."""
        facts = self.network.facts
        digest = f", sha256 {facts.digest}" if facts.digest else ""
        size = f"{facts.size} x {facts.size} pixels only" if facts.size else "any size"
        takes = "grey images" if self.channels == 1 else "images of 3 channels"
        sentences = [
            f"{facts.name}: {facts.form}{digest}.",
            f"It takes {takes}, {size}.",
            *self.conventions.describe(),
        ]
        if self._stripped:
            sentences.append(
                f"Log-odds are computed from what its last {self.network.activation} gets, so that gradients do not "
                "vanish where it saturates."
            )
        elif self.gradients and self.conventions.output in ("probability", "softmax"):
            sentences.append("Where its output is a probability of exactly 1 in float32, no gradient comes back.")
        return [*sentences, *facts.notes]

    @property
    def _stripped(self) -> bool:
        """Whether the output is computed before the last activation."""
        found = (self.network.activation, self.conventions.output)
        return found in (("sigmoid", "probability"), ("softmax", "softmax"))

    def forward(self, images: Tensor) -> Belief:
        """Return the belief about each pixel of ``images``."""
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ShapeError(f"images must be (B, 1 or 3, H, W), got {tuple(images.shape)}")
        if images.requires_grad and torch.is_grad_enabled() and not self.gradients:
            raise ModelError(f"'{self.name}' has no gradients; attack it with square, which needs none")
        with torch.autocast(images.device.type, enabled=False):
            inputs = prepared(images, self.conventions, channels=self.channels)
            raw = self.network.before_activation(inputs) if self._stripped else self.network(inputs)
            log_odds = log_odds_of(raw, self.conventions, logits=self._stripped)
            height, width = images.shape[-2:]
            found = restored(log_odds, (height, width), self.conventions)
        if not found.requires_grad and bool(found.isnan().any()):
            raise ModelError(f"'{self.name}' returns NaN; check its weights and the range of its input")
        return Bernoulli(found)

    def belief(self, images: Tensor) -> Belief:
        """Return the belief; see ``forward``."""
        belief: Belief = self(images)
        return belief
