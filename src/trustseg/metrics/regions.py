"""Regions of an image over which a metric may be taken alone, where the whole is mostly easy background."""

from torch import Tensor
from torch.nn import functional

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import counted, require_binary, require_tensors

__all__ = ["boundary_band"]


def boundary_band(masks: Tensor, *, width: int = 5) -> Tensor:
    """Return the pixels that have both classes within Chebyshev distance ``width``; the image edge is no boundary.

    Ignored pixels are of neither class and never in the band, so that the edge of a padded image is no boundary either.

    Args:
        masks: reference masks (B, 1, H, W), bool or in {0, 1}, NaN where ignored.
        width: distance in pixels, >= 0 (0 gives an empty band).

    Returns:
        (B, 1, H, W) bool, all False for an empty or a full mask.

    Raises:
        ConfigError: if ``width`` is negative.
        ShapeError: if masks are not (B, 1, H, W) or not binary.

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
