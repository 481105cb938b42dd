"""The squared error of a Beta belief, weighted by the Fisher information of its evidence."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief
from trustseg.losses.balance import Balance, image_mean
from trustseg.losses.evidential import as_beta, right_and_wrong

__all__ = ["fisher_squared_error"]


def _trigamma(x: Tensor) -> Tensor:
    return torch.polygamma(1, x)


def _inverse_trigamma_excess(x: Tensor) -> Tensor:
    """Return r(x) = 1 / psi'(x) - x + 1/2, by its series for large x where the difference cancels."""
    switch = 16.0 if x.dtype == torch.float64 else 6.0
    small = x.clamp(max=switch)  # each branch gets values that are safe for it, so that gradients stay finite
    exact = 1 / _trigamma(small) - small + 0.5
    i = 1 / x.clamp(min=switch)
    tail = i * (113 / 12096 - i * (527 / 24192 + i * (79717 / 3628800 - i * 34253 / 1036800)))
    series = i * (1 / 12 + i * (1 / 24 - i * (1 / 720 + i * (11 / 480 + tail))))
    return torch.where(x <= switch, exact, series)


def _log_determinant(alpha: Tensor, beta: Tensor) -> Tensor:
    """Return ln |I|, I the Fisher information of (alpha, beta): psi' of each on the diagonal, minus psi'(S).

    |I| = psi'(alpha) psi'(beta) - psi'(S) (psi'(alpha) + psi'(beta)) cancels for large evidence; with r from
    ``_inverse_trigamma_excess`` it is psi'(alpha) psi'(beta) psi'(S) (1/2 + r(S) - r(alpha) - r(beta)).
    """
    strength = alpha + beta
    excess = [_inverse_trigamma_excess(x) for x in (strength, alpha, beta)]
    logs = sum(torch.log(_trigamma(x)) for x in (alpha, beta, strength))
    return logs + torch.log(0.5 + excess[0] - excess[1] - excess[2])


def fisher_squared_error(
    belief: Belief, masks: Tensor, *, determinant_weight: float = 0.05, balance: Balance = "none"
) -> Tensor:
    """Return the mean squared error of each image, weighted by the Fisher information of its evidence.

    Per pixel, with psi' the trigamma function and w the ``determinant_weight``:
    loss = (psi'(alpha) + psi'(beta)) ((m / S)^2 + p q / (S + 1)) - w ln |I|, where I is the Fisher information of
    (alpha, beta). Classes with little evidence weigh more; the determinant keeps the evidence from growing for its own
    sake. Without either weight it is ``bayes_risk_squared_error``. It needs a Beta and is > 0 for prior weight 1.

    Args:
        determinant_weight: weight w of the determinant, >= 0.

    Example:
        >>> from trustseg.beliefs import Beta
        >>> ones = torch.ones(1, 1, 1, 1)
        >>> fisher_squared_error(Beta(ones, ones), ones, determinant_weight=0)  # pi^2 / 3 times (1/4 + 1/12)
        tensor([1.0966])

    Reference:
        Deng et al., "Uncertainty Estimation by Fisher Information-based Evidential Deep Learning", ICML 2023,
        arXiv:2303.02045, section 4; two classes, their divergence being ``kl_to_uniform``.
        Deviation: a form of the determinant that does not cancel.
    """
    beta = as_beta(belief, "fisher_squared_error")
    right, wrong = right_and_wrong(beta, masks)
    strength = right + wrong
    miss = wrong / strength
    squared = miss * (miss + right / strength / (strength + 1))
    losses = (_trigamma(right) + _trigamma(wrong)) * squared
    losses = losses - determinant_weight * _log_determinant(right, wrong)
    return image_mean(losses, masks, balance=balance)
