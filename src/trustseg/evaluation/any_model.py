"""Any callable from images to a belief, as evaluation and attacks want a model."""

import hashlib
from typing import Protocol

from torch import Tensor, nn

from trustseg.beliefs import Belief, check_belief
from trustseg.models import BeliefModel
from trustseg.models.spec import SegmenterSpec

__all__ = ["AnyModel", "SizedModel", "as_belief_model"]


class SizedModel(Protocol):
    """A callable from images (B, C, H, W) in [0, 1] to a belief that says which images it takes.

    Attributes:
        size: side of the square images in pixels.
        channels: 1 or 3.
        name: what it is called.
    """

    size: int
    channels: int
    name: str

    def __call__(self, images: Tensor) -> Belief:
        """Return the belief about each pixel."""


class AnyModel(nn.Module):
    """A callable with the interface of a ``BeliefModel``.

    Its ``digest``, if it has one, tells it from others; else its weights do, if it is a module, and its name.
    """

    passes = 1

    def __init__(self, model: SizedModel) -> None:
        super().__init__()
        self.inner = model  # registered as a part if it is a module
        self.spec = SegmenterSpec(model.name, "", "bernoulli", channels=model.channels, size=model.size)
        self.digest = str(getattr(model, "digest", "")) or _digest_of(model)

    def forward(self, images: Tensor) -> Belief:
        """Return what the callable believes."""
        return self.inner(images)

    def belief(self, images: Tensor) -> Belief:
        """Return what the callable believes; a BeliefError if that is no belief, or holds NaN."""
        belief = self.inner(images)
        check_belief(belief)
        return belief

    def weights(self) -> bytes:
        """Return the digest."""
        return self.digest.encode()


def as_belief_model(model: BeliefModel | SizedModel) -> BeliefModel:
    """Return a model as it is, or any other callable wrapped as one."""
    if hasattr(model, "belief"):
        return model  # type: ignore[return-value]  # as the protocol says
    return AnyModel(model)


def _digest_of(model: SizedModel) -> str:
    digest = hashlib.sha256(model.name.encode())
    if isinstance(model, nn.Module):
        for name, values in model.state_dict().items():
            digest.update(name.encode() + values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
