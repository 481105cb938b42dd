"""Distances between the beliefs about an attacked and about the clean image: terms of robust training.

Each is the mean over the pixels of an image, (B,) in nats. Unprimed letters are of the clean image, primed ones of the
attacked: g = ln(alpha / beta), p = alpha / S. Divergences of nearly equal beliefs cancel, so they are computed in
float64.

Args:
    clean: belief about the clean images, maps (B, 1, H, W).
    adversarial: belief of the same kind and shape about the attacked images. Gradients reach both.
    masks: reference masks of that shape, read only for the pixels to ignore, NaN; None ignores none.

Raises:
    BeliefError: if the two are not Betas; the divergences also take two Bernoullis.
    ShapeError: if the two differ in shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor
from torch.distributions import Beta as TorchBeta
from torch.distributions import kl_divergence as torch_kl
from torch.nn.functional import softplus

from trustseg.beliefs import Belief, Bernoulli, Beta, reference_of, require_belief
from trustseg.entries import Entry
from trustseg.errors import BeliefError, ConfigError, ShapeError
from trustseg.losses.balance import require_weights
from trustseg.masks import counted_mean

__all__ = ["ALIGNMENTS", "AlignmentFacts", "Divergence", "evidence_alignment", "kl_divergence"]

Divergence = Literal["log_strength", "symmetric_kl"]


def evidence_alignment(
    clean: Belief,
    adversarial: Belief,
    masks: Tensor | None = None,
    *,
    squared_weight: float,
    cross_entropy_weight: float,
    strength_weight: float,
    divergence: Divergence = "log_strength",
    one_sided: bool = False,
) -> Tensor:
    """Return how far the evidence for each attacked image lies from that for the clean one, >= 0.

    Per pixel: loss = squared_weight / 8 (g' - g)^2 + cross_entropy_weight CE(p, p') + strength_weight D, with p in the
    cross-entropy held constant. D is (ln S' - ln S)^2 / 2 or KL(Beta' || Beta) + KL(Beta || Beta'). The first two terms
    do not depend on S: evidence may vanish or explode under attack unless ``strength_weight`` is above 0.

    Args:
        squared_weight: weight b of the squared difference of log-odds, >= 0.
        cross_entropy_weight: weight a of the cross-entropy of the means, >= 0.
        strength_weight: weight of D, >= 0; 0 is the evidence alignment of EV-AT.
        divergence: which D; the symmetric divergence grows with S and so can reward lower evidence.
        one_sided: for ``"log_strength"``, count only ln S' > ln S, an attacked image that is surer than the clean one.

    Raises:
        ConfigError: if a weight is negative, or ``divergence`` unknown or without one side.

    Reference:
        EV-AT, arXiv:2607.03075, the robust evidence alignment, for two classes of equal weight; its squared term is
        that of Cui et al., "Decoupled Kullback-Leibler Divergence Loss", NeurIPS 2024, arXiv:2305.13948. D is our own.
    """
    require_weights(
        squared_weight=squared_weight, cross_entropy_weight=cross_entropy_weight, strength_weight=strength_weight
    )
    if divergence not in ("log_strength", "symmetric_kl") or (one_sided and divergence != "log_strength"):
        raise ConfigError(
            f"got {divergence} with one_sided={one_sided}; choose log_strength, on one side or both, or symmetric_kl "
            "on both"
        )
    before, after = _two_betas(clean, adversarial)
    losses = squared_weight / 8 * (after.log_odds - before.log_odds) ** 2
    if cross_entropy_weight > 0:
        alpha, beta, odds = before.alpha.detach(), before.beta.detach(), after.log_odds
        cross_entropy = (alpha * softplus(-odds) + beta * softplus(odds)) / (alpha + beta)
        losses = losses + cross_entropy_weight * cross_entropy
    if strength_weight > 0 and divergence == "symmetric_kl":
        losses = losses + strength_weight * _symmetric_kl_of_betas(before, after).to(losses.dtype)
    elif strength_weight > 0:
        surer = after.strength.log() - before.strength.log()
        losses = losses + strength_weight * (surer.clamp_min(0) if one_sided else surer) ** 2 / 2
    return _image_mean(losses, clean, masks, "evidence_alignment")


def kl_divergence(clean: Belief, adversarial: Belief, masks: Tensor | None = None) -> Tensor:
    """Return KL(clean || adversarial) of each image, >= 0 up to rounding.

    Of Bernoullis: loss = p (z - z') + softplus(z') - softplus(z). Of Betas: loss =
    KL(Beta(alpha, beta) || Beta(alpha', beta')), which also depends on the strength of the evidence.

    Reference:
        Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy" (TRADES), ICML 2019,
        arXiv:1901.08573, equation 5, for Bernoulli beliefs; for Betas it is our own.
    """
    if isinstance(clean, Bernoulli) and isinstance(adversarial, Bernoulli):
        _check_shapes(clean.logits, adversarial.logits)
        # Beyond 1e4, p is 0 or 1 and inf - inf would be NaN.
        before, after = (each.logits.double().clamp(-1e4, 1e4) for each in (clean, adversarial))
        losses = torch.sigmoid(before) * (before - after) + softplus(after) - softplus(before)
    else:
        pair = _two_betas(clean, adversarial)
        losses = torch_kl(*(TorchBeta(each.alpha.double(), each.beta.double(), validate_args=False) for each in pair))
    return _image_mean(losses, clean, masks, "kl_divergence").to(clean.log_odds.dtype)


def trades(clean: Belief, adversarial: Belief, masks: Tensor | None = None, *, kl_weight: float) -> Tensor:
    """Return ``kl_weight`` times the divergence of the attacked belief from the clean one, (B,).

    Reference:
        Zhang et al. (TRADES), arXiv:1901.08573, equation 5; gradients reach both beliefs, as in the authors' code.
    """
    return kl_weight * kl_divergence(clean, adversarial, masks)


def ev_at(
    clean: Belief,
    adversarial: Belief,
    masks: Tensor | None = None,
    *,
    squared_weight: float,
    cross_entropy_weight: float,
) -> Tensor:
    """Return the evidence alignment that does not see the strength of the evidence, (B,).

    Reference:
        EV-AT, arXiv:2607.03075, for two classes; its authors' code has the weights 20 and 4.
    """
    return evidence_alignment(
        clean,
        adversarial,
        masks,
        squared_weight=squared_weight,
        cross_entropy_weight=cross_entropy_weight,
        strength_weight=0.0,
    )


@dataclass(frozen=True, slots=True)
class AlignmentFacts:
    """Facts about an alignment: whether it needs the evidence of a Beta, and whether it sees the strength of it."""

    needs_beta: bool = True
    sees_strength: bool = False


ALIGNMENTS: Final[Mapping[str, Entry[Tensor, AlignmentFacts]]] = {
    "trades": Entry(trades, "TRADES", AlignmentFacts(needs_beta=False)),
    "ev_at": Entry(ev_at, "EV-AT", AlignmentFacts()),
    "strength": Entry(evidence_alignment, "strength of evidence", AlignmentFacts(sees_strength=True)),
}
"""Alignments (clean, adversarial, masks, *, weights) -> (B,) that training adds to the losses of clean images."""


def _image_mean(losses: Tensor, belief: Belief, masks: Tensor | None, name: str) -> Tensor:
    """Return the mean over the pixels of each image (B,), ignored ones left out; 0 where all are."""
    if masks is None:
        return losses.flatten(1).mean(dim=1)
    return counted_mean(losses, reference_of(belief, masks, name).counted, empty=0.0)


def _two_betas(clean: Belief, adversarial: Belief) -> tuple[Beta, Beta]:
    for belief in (clean, adversarial):
        require_belief(belief, "the alignment")
    if not (isinstance(clean, Beta) and isinstance(adversarial, Beta)):
        raise BeliefError(
            f"got a {type(clean).__name__} and a {type(adversarial).__name__} to align, expected two Betas; use "
            "head='beta', or kl_divergence, which also takes two Bernoullis"
        )
    _check_shapes(clean.alpha, adversarial.alpha)
    return clean, adversarial


def _check_shapes(clean: Tensor, adversarial: Tensor) -> None:
    if clean.shape != adversarial.shape:
        raise ShapeError(
            f"clean and adversarial belief must have one shape, got {tuple(clean.shape)} and "
            f"{tuple(adversarial.shape)}; pass each attacked image with its own clean original"
        )


def _symmetric_kl_of_betas(clean: Beta, adversarial: Beta) -> Tensor:
    """Return KL(clean || adversarial) + KL(adversarial || clean), whose log-Beta terms cancel."""
    alpha, beta = clean.alpha.double(), clean.beta.double()
    other_alpha, other_beta = adversarial.alpha.double(), adversarial.beta.double()
    strength, other_strength = alpha + beta, other_alpha + other_beta
    return (
        (other_alpha - alpha) * (torch.digamma(other_alpha) - torch.digamma(alpha))
        + (other_beta - beta) * (torch.digamma(other_beta) - torch.digamma(beta))
        - (other_strength - strength) * (torch.digamma(other_strength) - torch.digamma(strength))
    )
