"""Regions of an image for metrics, where the whole is mostly easy background."""

from torch import Tensor

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
    return _dilated(foreground, width) & _dilated(inside & ~foreground, width) & inside


def _dilated(mask: Tensor, width: int) -> Tensor:
    """Return where a bool mask is set within Chebyshev distance ``width``: down the columns, then along the rows.

    A mask that reaches r pixels is laid over itself up to 2 r + 1 pixels away: few passes for any width.
    """
    for dim in (2, 3):
        reached = 0
        while reached < width:
            step = min(width - reached, 2 * reached + 1)
            length = max(0, mask.shape[dim] - step)
            wider = mask.clone()
            wider.narrow(dim, mask.shape[dim] - length, length).logical_or_(mask.narrow(dim, 0, length))
            wider.narrow(dim, 0, length).logical_or_(mask.narrow(dim, mask.shape[dim] - length, length))
            mask, reached = wider, reached + step
    return mask
