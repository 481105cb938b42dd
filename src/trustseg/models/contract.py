"""What evaluation and prediction ask of a model, whether one segmenter, a calibrated one, or a mixture."""

from collections.abc import Iterator
from typing import Protocol, Self

from torch import Tensor, device, nn

from trustseg.beliefs import Belief
from trustseg.models.segmenter import SegmenterSpec

__all__ = ["BeliefModel"]


class BeliefModel(Protocol):
    """A module that turns images into beliefs: ``Segmenter``, ``MCDropout``, ``DeepEnsemble`` or ``Calibrated``.

    Attributes:
        spec: what it is built from; of a mixture, what its first member is built from.
        passes: forward passes of a network that one belief takes.
    """

    @property
    def spec(self) -> SegmenterSpec:
        """Return what it is built from."""

    @property
    def passes(self) -> int:
        """Return the forward passes of a network that one belief takes."""

    def __call__(self, images: Tensor) -> Belief:
        """Return the belief about each pixel of ``images`` (B, C, H, W) in [0, 1]."""

    def belief(self, images: Tensor) -> Belief:
        """Return the belief about each pixel of ``images`` (B, C, H, W) in [0, 1]."""

    def weights(self) -> bytes:
        """Return all that its beliefs follow from, beside ``spec``, as bytes that do not change between runs."""

    def eval(self) -> Self:
        """Put it into evaluation mode and return it."""

    def to(self, device: str | device) -> Self:
        """Move it and return it."""

    def modules(self) -> Iterator[nn.Module]:
        """Return it and every module inside."""
