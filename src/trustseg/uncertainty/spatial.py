"""Image scores by the spatial pattern of uncertainty."""

import torch
from torch import Tensor

from trustseg.uncertainty.maps import check_maps

__all__ = ["morans_i"]


def morans_i(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return Moran's I of the map: near 1 where unsure pixels lie together, near 0 where they are scattered.

    With n pixels, d = u - mean(u), and W the number of pairs of pixels that share an edge, each counted once:
    I = (n / W) sum over pairs of (d_i d_j) / sum(d^2). No unit, about -1 (a chequerboard) to 1; 0 for a constant map.
    It measures the pattern and not the level: adding a constant to the map or scaling it changes nothing, so report it
    with a mean, not in its place. The probability is not read, and an empty prediction is no exception.

    Reference:
        Moran, "Notes on Continuous Stochastic Phenomena", Biometrika 37, 1950; rook neighbours of weight 1.
    """
    check_maps(uncertainty, probability)
    maps = uncertainty.double()
    flat = maps.flatten(1)
    d = maps - flat.mean(dim=1).view(-1, 1, 1, 1)
    height, width = maps.shape[-2:]
    pairs = height * (width - 1) + (height - 1) * width
    products = (d[..., 1:] * d[..., :-1]).flatten(1).sum(dim=1) + (d[..., 1:, :] * d[..., :-1, :]).flatten(1).sum(dim=1)
    varies = flat.amin(dim=1) < flat.amax(dim=1)
    squares = torch.where(varies, d.square().flatten(1).sum(dim=1), 1.0)
    score = torch.where(varies, flat.shape[1] / max(1, pairs) * products / squares, 0.0)
    return score.to(uncertainty.dtype)
