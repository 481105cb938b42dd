"""Losses of a Beta belief: four data terms, the penalty on misleading evidence, and the correction of no evidence."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from trustseg.beliefs import Belief, Beta, reference_of, require_belief
from trustseg.errors import BeliefError
from trustseg.losses.balance import Balance, image_mean

__all__ = [
    "as_beta",
    "bayes_risk_cross_entropy",
    "bayes_risk_squared_error",
    "fisher_squared_error",
    "kl_to_uniform",
    "right_and_wrong",
    "type_ii_likelihood",
    "vacuity_correction",
]


def as_beta(belief: Belief, loss: str) -> Beta:
    """Return ``belief``, or raise a BeliefError that names the loss or objective if it is no Beta."""
    require_belief(belief, loss)
    if not isinstance(belief, Beta):
        raise BeliefError(
            f"{loss} needs a Beta belief, got a {type(belief).__name__}; "
            "use a model with head='beta', or cross-entropy, which works for every belief"
        )
    return belief


def right_and_wrong(belief: Beta, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parameters a and m of ``trustseg.losses``, each (B, 1, H, W); arbitrary where ignored."""
    positive = reference_of(belief, masks, "the loss").masks > 0.5
    return torch.where(positive, belief.alpha, belief.beta), torch.where(positive, belief.beta, belief.alpha)


def type_ii_likelihood(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean negative log marginal likelihood of each image, the cross-entropy of the mean, in nats, > 0.

    Per pixel: loss = ln(S / a) = log1p(m / a). At fixed p it does not depend on S.

    Example:
        >>> ones = torch.ones(1, 1, 1, 1)
        >>> type_ii_likelihood(Beta(3 * ones, ones), ones)
        tensor([0.2877])

    Reference:
        Sensoy, section 4, equation 3.
    """
    right, wrong = right_and_wrong(as_beta(belief, "type_ii_likelihood"), masks)
    return image_mean(torch.log1p(wrong / right), masks, balance=balance)


def bayes_risk_cross_entropy(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean expected cross-entropy of each image under the Beta, in nats, above ``type_ii_likelihood``.

    Per pixel: loss = E[-ln theta_y] = psi(S) - psi(a).

    Reference:
        Sensoy, section 4, equation 4.
    """
    right, wrong = right_and_wrong(as_beta(belief, "bayes_risk_cross_entropy"), masks)
    return image_mean(torch.digamma(right + wrong) - torch.digamma(right), masks, balance=balance)


def bayes_risk_squared_error(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean expected squared error of each image under the Beta, summed over both classes, in (0, 2).

    Per pixel: loss = 2 (y - p)^2 + 2 p q / (S + 1); 2/3 at Beta(1, 1).

    Reference:
        Sensoy, section 4, equation 5; two classes, so twice the form with one output.
    """
    right, wrong = right_and_wrong(as_beta(belief, "bayes_risk_squared_error"), masks)
    strength = right + wrong
    miss = wrong / strength  # |y - p| without a subtraction
    losses = 2 * miss * (miss + right / strength / (strength + 1))
    return image_mean(losses, masks, balance=balance)


def _kl_from_uniform(wrong: Tensor) -> Tensor:
    """Return ln m + (1 - m) / m, by its series near m = 1 where the difference cancels."""
    evidence = wrong - 1
    # Where the rounding error of the difference, 2 u / e, meets the first term left out, 8 e^3 / 5.
    switch = 1e-4 if wrong.dtype == torch.float64 else 0.02
    e = evidence.clamp(-switch, switch)  # values safe for the series, so that its unused gradients stay finite
    series = e * e * (0.5 - e * (2 / 3 - e * 0.75))
    return torch.where(evidence.abs() <= switch, series, torch.log1p(evidence) - evidence / wrong)


def kl_to_uniform(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean divergence of the misleading evidence of each image from no evidence, in nats, >= 0.

    The evidence of the true class is removed, then compared with Beta(1, 1), per pixel:
    loss = KL(Beta(1, m) || Beta(1, 1)) = ln m + (1 - m) / m; 0 without evidence for the wrong class. It needs prior
    weight 1; another one raises a BeliefError.

    Reference:
        Sensoy, section 4, the regularising term; for two classes it needs no gamma function.
    """
    beta = as_beta(belief, "kl_to_uniform")
    if beta.prior != 1:
        raise BeliefError(
            f"kl_to_uniform needs prior weight 1, got {beta.prior}; set the prior to 1 or the weight of this term to 0"
        )
    _, wrong = right_and_wrong(beta, masks)
    return image_mean(_kl_from_uniform(wrong), masks, balance=balance)


def _inverse_trigamma_excess(x: Tensor) -> Tensor:
    """Return r(x) = 1 / psi'(x) - x + 1/2, by its series for large x where the difference cancels."""
    switch = 16.0 if x.dtype == torch.float64 else 6.0
    small = x.clamp(max=switch)  # each branch gets values that are safe for it, so that gradients stay finite
    exact = 1 / torch.polygamma(1, small) - small + 0.5
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
    logs = sum(torch.log(torch.polygamma(1, x)) for x in (alpha, beta, strength))
    return logs + torch.log(0.5 + excess[0] - excess[1] - excess[2])


def fisher_squared_error(
    belief: Belief, masks: Tensor, *, determinant_weight: Annotated[float, Ge(0)] = 0.05, balance: Balance = "none"
) -> Tensor:
    """Return the mean squared error of each image, weighted by the Fisher information of its evidence.

    Per pixel, with psi' the trigamma function and w the ``determinant_weight``:
    loss = (psi'(alpha) + psi'(beta)) ((m / S)^2 + p q / (S + 1)) - w ln |I|, where I is the Fisher information of
    (alpha, beta). Classes with little evidence weigh more; the determinant keeps the evidence from growing for its own
    sake. It is > 0 for prior weight 1.

    Args:
        determinant_weight: weight w of the determinant, >= 0.

    Reference:
        Deng et al., "Uncertainty Estimation by Fisher Information-based Evidential Deep Learning", ICML 2023,
        arXiv:2303.02045, section 4; two classes, their divergence being ``kl_to_uniform``.
        Deviation: a form of the determinant that does not cancel.
    """
    right, wrong = right_and_wrong(as_beta(belief, "fisher_squared_error"), masks)
    strength = right + wrong
    miss = wrong / strength
    squared = miss * (miss + right / strength / (strength + 1))
    losses = (torch.polygamma(1, right) + torch.polygamma(1, wrong)) * squared
    losses = losses - determinant_weight * _log_determinant(right, wrong)
    return image_mean(losses, masks, balance=balance)


def vacuity_correction(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean pull of each image towards evidence for the true class, strong where there is none.

    Per pixel: loss = -u ln e, with e the evidence for the true class and u = 2 w / S the vacuity, which is held
    constant. With softplus evidence the gradient with respect to the logit tends to -u where that of the data terms
    decays like exp(logit). It is added to a data term: it is no proper score, may be negative, falls without bound, and
    is at most 16 in float32.

    Reference:
        Pandey and Yu, "Learn to Accumulate Evidence from All Training Samples: Theory and Practice", ICML 2023,
        arXiv:2306.11113, the correct evidence regularisation. Deviation: ln(e + 1.2e-7), the resolution of alpha in
        float32, so that the gradient stays finite; the pull weakens below logit -16. Their code takes the logit for ln
        e, which is the same for exponential evidence only.
    """
    beta = as_beta(belief, "vacuity_correction")
    right, _ = right_and_wrong(beta, masks)
    evidence = (right - beta.prior).clamp_min(0)
    losses = -beta.vacuity().detach() * torch.log(evidence + torch.finfo(evidence.dtype).eps)
    return image_mean(losses, masks, balance=balance)
