"""The interface of a model for evaluation and prediction, whether one segmenter, a calibrated one, or a mixture."""

from collections.abc import Iterator
from typing import Protocol, Self

from torch import Tensor, device, nn

from trustseg.beliefs import Belief
from trustseg.models.segmenter import SegmenterSpec

__all__ = ["BeliefModel"]


class BeliefModel(Protocol):
    """A ``Segmenter``, a ``Calibrated`` one or a mixture; the contract is written in ``trustseg.models``."""

    @property
    def spec(self) -> SegmenterSpec:
        """What it is built from."""

    @property
    def passes(self) -> int:
        """Forward passes per belief."""

    def __call__(self, images: Tensor) -> Belief:
        """Return the belief about each pixel."""

    def belief(self, images: Tensor) -> Belief:
        """Return the belief about each pixel."""

    def weights(self) -> bytes:
        """Return its weights as bytes."""

    def eval(self) -> Self:
        """Put it into evaluation mode and return it."""

    def to(self, device: str | device) -> Self:
        """Move it and return it."""

    def modules(self) -> Iterator[nn.Module]:
        """Return it and every module inside."""
