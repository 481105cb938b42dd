"""Fitting a calibration map to beliefs and masks, in memory that does not grow with their number."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Belief, Bernoulli, Beta, require_belief
from trustseg.calibration.maps import MAPS, parameters_of
from trustseg.calibration.model import LARGEST_FACTOR, LARGEST_OFFSET, Calibration
from trustseg.errors import BeliefError, ConfigError, DataError, ShapeError, unknown_name
from trustseg.masks import counted, is_binary

__all__ = ["fit_calibration"]

SPLITS: Final = ("validation", "calibration")
BINS: Final = {1: 16384, 2: 1024}  # number of coordinates -> cells along each
SPAN: Final = 15.0  # asinh of the largest coordinate, 1.6 million
# The likelihood of evidence_scaling has no convex form. The limits come first: that of separable labels is flat, and a
# start between them would end wherever the slope is lost.
STARTS: Final = (1 / LARGEST_FACTOR, LARGEST_FACTOR, 1.0, 0.01, 0.1, 10.0, 100.0)


def fit_calibration(
    batches: Iterable[tuple[Belief, Tensor]], *, method: str, patients: Sequence[str], split: str = "validation"
) -> Calibration:
    """Return the calibration of least negative log-likelihood, every pixel with the same weight.

    Pixels are gathered in cells of a fixed grid, each represented by its mean: 16,384 cells of log-odds for a Bernoulli
    (0.2 % wide), 1024 x 1024 of evidence for a Beta (1.5 % wide, 50 MB). The likelihood of the cells is then minimised
    in float64 by L-BFGS-B. Factors end within [1/1000, 1000] and offsets within [-100, 100], also where the labels ask
    for infinity, as separable ones do; ``at_limit`` of the result names those that ended there.

    Args:
        batches: belief and masks (B, 1, H, W), each value 0 or 1, NaN where ignored, of every image of the split;
            read once.
        method: a name in ``MAPS`` that takes this kind of belief.
        patients: the patient of each image.
        split: ``"validation"`` or ``"calibration"``, recorded; a test set is refused.

    Raises:
        ConfigError: if ``split`` is another one.
        UnknownNameError: if ``method`` is not in ``MAPS``.
        BeliefError: if the method does not take a belief, a belief holds NaN, or the prior weights of Betas differ.
        ShapeError: if masks and belief differ in shape.
        DataError: if masks are not binary or hold one class only, or ``patients`` does not name one for each image.

    Example:
        >>> sure = Bernoulli(torch.tensor([2.0, 2.0, 2.0, -2.0]).view(1, 1, 2, 2))
        >>> masks = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
        >>> found = fit_calibration([(sure, masks)], method="temperature_scaling", patients=["P1"])
        >>> round(found.parameters["temperature"], 3)  # 3 of 4 are right: 2 / ln 3
        1.82

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, section 4: one held-out
        split, the negative log-likelihood.
    """
    if split not in SPLITS:
        raise ConfigError(f"a calibration is fitted on the {' or '.join(SPLITS)} split, got '{split}'")
    if method not in MAPS:
        raise unknown_name("calibration method", method, MAPS)
    cells = _Cells()
    for belief, masks in batches:
        MAPS[method](belief, *[1.0] * len(parameters_of(method)))  # refuses the wrong kind before the work
        cells.add(belief, masks)
    cells.check(len(patients))
    with torch.inference_mode(False), torch.enable_grad():
        parameters, nll_before, nll_after = _minimised(cells, method)
    names = sorted({str(name) for name in patients})
    return Calibration(
        method=method,
        parameters=parameters,
        split=split,
        images=cells.images,
        patients=len(names),
        patients_hash=hashlib.sha256("\n".join(names).encode()).hexdigest()[:16],
        nll_before=nll_before,
        nll_after=nll_after,
    )


class _Cells:
    """Count and sum of the pixels in each cell of a grid over asinh(coordinate), foreground and background apart."""

    def __init__(self) -> None:
        self.images = 0
        self.prior: float | None = None  # of a Beta; a Bernoulli has none
        self.totals = torch.empty(0)

    def add(self, belief: Belief, masks: Tensor) -> None:
        """Add the pixels of some images."""
        require_belief(belief, "fit_calibration")
        maps = (belief.alpha, belief.beta) if isinstance(belief, Beta) else (belief.log_odds,)
        if masks.shape != maps[0].shape or masks.ndim != 4:
            raise ShapeError(
                f"masks and belief must have one shape (B, 1, H, W), got {tuple(masks.shape)} and "
                f"{tuple(maps[0].shape)}"
            )
        if not bool(is_binary(masks, ignored=True)):
            raise DataError("masks must hold only 0 and 1, got other values; threshold them first, as in masks > 0.5")
        prior = belief.prior if isinstance(belief, Beta) else None
        if self.images and prior != self.prior:
            raise BeliefError(
                f"the beliefs have prior weights {self.prior:g} and {prior:g}; fit those of one model at a time"
            )
        self.prior = prior
        points = torch.stack([values.detach().double().cpu().flatten() for values in maps], dim=1)
        if bool(points.isnan().any()):
            raise BeliefError("a belief holds NaN; check the weights of the model")
        if self.prior is not None:
            points = (points - self.prior).clamp_min(0)
        self.images += len(masks)
        flat = masks.detach().cpu().flatten()
        known = counted(flat)
        points, positive = points[known].clamp(-math.sinh(SPAN), math.sinh(SPAN)), flat[known] > 0.5
        axes = points.shape[1]
        bins, low = BINS[axes], (-SPAN if self.prior is None else 0.0)
        places = ((points.asinh() - low) / (SPAN - low) * bins).long().clamp(0, bins - 1)
        cell = positive.long()
        for place in places.unbind(dim=1):
            cell = cell * bins + place
        if not len(self.totals):
            self.totals = torch.zeros(2 * bins**axes, 1 + axes, dtype=torch.float64)
        self.totals.index_add_(0, cell, torch.cat([torch.ones_like(points[:, :1]), points], dim=1))

    def check(self, patients: int) -> None:
        """Raise a DataError if a class is missing, or there is not one patient for each image."""
        if patients != self.images:
            raise DataError(f"got {patients} patients for {self.images} images, expected one per image")
        background, foreground = self.totals[:, :1].view(2, -1).sum(dim=1).tolist() if self.images else (0.0, 0.0)
        if background == 0 or foreground == 0:
            raise DataError(
                f"{self.images} images hold {foreground:.0f} foreground and {background:.0f} background pixels, "
                "calibration needs both; give more validation images"
            )

    def belief(self) -> tuple[Bernoulli | Beta, Tensor, Tensor]:
        """Return the mean belief of every cell that holds pixels, its share of all pixels, and its side: +1 or -1."""
        filled = self.totals[:, 0].nonzero().squeeze(1)
        count, points = self.totals[filled, 0], self.totals[filled, 1:] / self.totals[filled, :1]
        side = torch.where(filled >= len(self.totals) // 2, 1.0, -1.0).double()
        share = count / count.sum()
        if self.prior is None:
            return Bernoulli(points[:, 0]), share, side
        return Beta(self.prior + points[:, 0], self.prior + points[:, 1], self.prior), share, side


def _minimised(cells: _Cells, method: str) -> tuple[dict[str, float], float, float]:
    """Return the best parameters by name, and the likelihood before and after."""
    belief, share, side = cells.belief()
    names = parameters_of(method)
    offsets = torch.tensor([name == "offset" for name in names])

    def nll(values: Any) -> tuple[float, Any]:  # noqa: ANN401 - numpy arrays, in and out, for scipy
        free = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        mapped = MAPS[method](belief, *torch.where(offsets, free, free.exp()).unbind())
        mean = (share * softplus(-side * mapped.log_odds)).sum()
        return mean.item(), torch.autograd.grad(mean, free)[0].numpy()

    limits = [LARGEST_OFFSET if name == "offset" else math.log(LARGEST_FACTOR) for name in names]
    initial, _ = nll([0.0] * len(names))
    best, least = torch.zeros(len(names), dtype=torch.float64), initial
    for start in STARTS:
        result = minimize(
            nll,
            [0.0 if name == "offset" else math.log(start) for name in names],
            jac=True,
            method="L-BFGS-B",
            bounds=[(-limit, limit) for limit in limits],
            options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 500},
        )
        if result.fun < least:
            best, least = torch.from_numpy(result.x), float(result.fun)
    values = torch.where(offsets, best, best.exp()).tolist()
    return dict(zip(names, values, strict=True)), initial, least
