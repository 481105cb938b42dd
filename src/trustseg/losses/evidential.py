"""Losses of a Beta belief: three data terms and the penalty on misleading evidence."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief, Beta, reference_of, require_belief
from trustseg.errors import BeliefError
from trustseg.losses.balance import Balance, image_mean

__all__ = [
    "as_beta",
    "bayes_risk_cross_entropy",
    "bayes_risk_squared_error",
    "kl_to_uniform",
    "right_and_wrong",
    "type_ii_likelihood",
]


def as_beta(belief: Belief, loss: str) -> Beta:
    """Return ``belief``, or raise a BeliefError that names the loss if it is no Beta."""
    require_belief(belief, loss)
    if not isinstance(belief, Beta):
        raise BeliefError(
            f"{loss} needs a Beta belief, got a {type(belief).__name__}; "
            "use a model with head='beta', or binary_cross_entropy, which works for every belief"
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

    Example:
        >>> ones = torch.ones(1, 1, 1, 1)
        >>> bayes_risk_cross_entropy(Beta(4 * ones, ones), ones)
        tensor([0.2500])

    Reference:
        Sensoy, section 4, equation 4.
    """
    right, wrong = right_and_wrong(as_beta(belief, "bayes_risk_cross_entropy"), masks)
    return image_mean(torch.digamma(right + wrong) - torch.digamma(right), masks, balance=balance)


def bayes_risk_squared_error(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean expected squared error of each image under the Beta, summed over both classes, in (0, 2).

    Per pixel: loss = 2 (y - p)^2 + 2 p q / (S + 1); 2/3 at Beta(1, 1).

    Example:
        >>> ones = torch.ones(1, 1, 1, 1)
        >>> bayes_risk_squared_error(Beta(4 * ones, ones), ones)
        tensor([0.1333])

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

    Example:
        >>> ones = torch.ones(1, 1, 1, 1)
        >>> kl_to_uniform(Beta(4 * ones, 2 * ones), ones)
        tensor([0.1931])

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
