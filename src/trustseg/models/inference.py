"""What every model offers, where to compute its predictions, and a copy that computes them in less time."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor, device, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trustseg.beliefs import Belief
from trustseg.models.segmenter import Segmenter
from trustseg.models.spec import STRIDE, SegmenterSpec

__all__ = ["BeliefModel", "device_of", "fast_forward"]


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


Model = TypeVar("Model", bound=BeliefModel)


def device_of(accelerator: str) -> str:
    """Return ``"cuda"`` where a GPU is wanted (``"auto"``, ``"gpu"`` or ``"cuda"``) and found, otherwise ``"cpu"``.

    Example:
        >>> device_of("cpu")
        'cpu'
    """
    return "cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"


@contextmanager
def fast_forward(model: Model) -> Iterator[Model]:
    """Yield a frozen copy of a model, in eval mode, that computes the same belief in less time.

    In every segmenter that it holds, each batch normalisation is folded into the convolution before it, and the network
    runs in channels-last layout. Gradients with respect to images flow as before; weights need none. Meanwhile a GPU
    uses only convolution algorithms that repeat bit for bit. A model that holds no segmenter is yielded as it is.

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        CVPR 2018, arXiv:1712.05877, section 3.2: folding of batch normalisation.
    """
    holds_one = any(isinstance(module, Segmenter) for module in model.modules())
    fast = copy.deepcopy(model).eval() if holds_one else model
    for segmenter in [module for module in fast.modules() if isinstance(module, Segmenter)]:
        segmenter.requires_grad_(False)
        for convolution, normalisation in _pairs(segmenter):
            _replace(segmenter, convolution, fuse_conv_bn_eval(convolution, normalisation))
            _replace(segmenter, normalisation, nn.Identity())
        segmenter.to(memory_format=torch.channels_last)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=torch.backends.cudnn.allow_tf32):
        yield fast


def _pairs(segmenter: Segmenter) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution and the batch normalisation that alone reads its output, seen in a forward pass."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []  # tensors are kept, or their identities could be used again

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((module, inputs[0], output))

    handles = [module.register_forward_hook(note) for module in segmenter.modules() if not list(module.children())]
    try:
        with torch.no_grad():
            weights = next(segmenter.parameters())
            side = 2 * STRIDE
            segmenter(torch.zeros(1, segmenter.spec.channels, side, side, device=weights.device, dtype=weights.dtype))
    finally:
        for handle in handles:
            handle.remove()
    pairs = []
    for module, _, output in calls:
        readers = [reader for reader, seen, _ in calls if seen is output]
        runs_once = sum(other is module for other, _, _ in calls) == 1
        if isinstance(module, nn.Conv2d) and runs_once and len(readers) == 1 and isinstance(readers[0], nn.BatchNorm2d):
            pairs.append((module, readers[0]))
    return pairs


def _replace(segmenter: Segmenter, old: nn.Module, new: nn.Module) -> None:
    """Replace one module by another."""
    for parent in segmenter.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
