"""Regions of an image for metrics, where the whole is mostly easy background."""

from torch import Tensor
from torch.nn import functional

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import counted, require_binary, require_tensors

__all__ = ["boundary_band"]


def boundary_band(masks: Tensor, *, width: int = 5) -> Tensor:
    """Return the pixels (B, 1, H, W), bool, that have both classes within Chebyshev distance ``width`` >= 0 in pixels.

    Neither the edge of the image nor that of a padded one is a boundary: ignored pixels are of neither class and never
    in the band. It is empty for an empty or a full mask, and for ``width`` 0.

    Example:
        >>> boundary_band(torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0]]]]), width=1)
        tensor([[[[False, False,  True,  True, False]]]])
    """
    require_tensors(masks=masks)
    if masks.ndim != 4:
        raise ShapeError(f"masks are {tuple(masks.shape)}, expected (B, 1, H, W); add the missing dimension")
    if width < 0:
        raise ConfigError(f"width is {width}, expected pixels >= 0; the usual band is 5")
    require_binary(masks)
    inside, foreground = counted(masks), masks > 0.5
    near = [_dilated(side.float(), width) for side in (foreground, inside & ~foreground)]
    return (near[0] > 0.5) & (near[1] > 0.5) & inside


def _dilated(mask: Tensor, width: int) -> Tensor:
    """Return the largest value within Chebyshev distance ``width``: a square, taken down its columns, then its rows."""
    down = functional.max_pool2d(mask, (2 * width + 1, 1), stride=1, padding=(width, 0))
    return functional.max_pool2d(down, (1, 2 * width + 1), stride=1, padding=(0, width))
