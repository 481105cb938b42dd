"""An attack on deferral under noise: L2-bounded ascent of the chance that an image is kept and its Dice below tau.

It knows everything but the noise: ascent in expectation over fresh noise in every step, unclipped, from several aims;
per image, the candidate that looks strongest on other noise is kept, to be measured on noise that no search has seen.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trustseg.deferral import CertifiedPolicy, Policy
from trustseg.entries import call
from trustseg.losses import LOSSES
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.randomness import derived_generator
from trustseg.uncertainty import AGGREGATIONS, MEASURES

TAU: Final = 0.5
MEASURE: Final = "entropy"
AGGREGATION: Final = "soft_dice_confidence"

Aim = Callable[[Tensor, Tensor], Tensor]  # keeping margin and failing margin (m, B), in units of softness, to a value


class Rule(NamedTuple):
    """The name of a model, the model, the deviation of the noise that it decides under (0: none), and its policy."""

    name: str
    model: Segmenter
    noise: float
    policy: Policy | CertifiedPolicy


def joint(kept: Tensor, failed: Tensor) -> Tensor:
    """Return the logarithm of a smooth chance that an image is kept and fails."""
    return logsigmoid(kept) + logsigmoid(failed)


def product(kept: Tensor, failed: Tensor) -> Tensor:
    """Return that chance itself, which spends nothing on draws that are won or lost already."""
    return (kept.sigmoid() * failed.sigmoid()).clamp_min(1e-30)


AIMS: Final[Mapping[str, Aim]] = {"joint": joint, "product": product}


def outcomes(rule: Rule, images: Tensor, masks: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far scores lie below the threshold, soft Dice loss above 1 - tau, and which images are kept and fail.

    ``noise`` is (m, B, C, H, W); all three are (m, B).
    """
    shape = noise.shape[:2]
    belief = rule.model.belief((images + noise).flatten(0, 1))
    repeated = masks.expand(*noise.shape).flatten(0, 1)
    scores = call(AGGREGATIONS, AGGREGATION, kind="aggregation")(MEASURES[MEASURE](belief), belief.probability)
    lost = LOSSES["soft_dice"](belief, repeated) - (1 - TAU)
    harmed = (dice(belief.log_odds.detach() > 0, repeated) < TAU) & (scores.detach().double() <= rule.policy.threshold)
    return rule.policy.threshold - scores.view(shape), lost.view(shape), harmed.view(shape)


def drawn(rule: Rule, images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return noise (m, B, C, H, W) for some images; where there is none, a single draw of zeros."""
    if rule.noise == 0:
        return torch.zeros(1, *images.shape)
    return rule.noise * torch.randn(count, *images.shape, generator=generator)


def harm_of(rule: Rule, images: Tensor, masks: Tensor, *, draws: int, generator: torch.Generator) -> Tensor:
    """Return the share of noise draws in which each image is an undetected failure, (B,)."""
    total, done = torch.zeros(len(images)), 0
    while done < draws:
        noise = drawn(rule, images, min(8, draws - done), generator)
        with torch.no_grad():
            total += outcomes(rule, images, masks, noise)[2].float().sum(0)
        done += len(noise)
        if rule.noise == 0:
            break
    return total / done


def ascended(
    rule: Rule, images: Tensor, masks: Tensor, aim: Aim, *, radius: float, steps: int, draws: int, seed: torch.Generator
) -> Tensor:
    """Return images moved within an L2 ball up an aim, in expectation over noise that is drawn anew in each step."""
    moved = images.clone()
    for _ in range(steps):
        moved.requires_grad_(True)
        kept, failed, _ = outcomes(rule, moved, masks, drawn(rule, images, draws, seed))
        value = aim(kept / 0.03, failed / 0.1).mean(0).sum()
        (gradient,) = torch.autograd.grad(value, moved)
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, 1, 1, 1)
        change = moved.detach() + 2.5 * radius / steps * gradient / length - images
        size = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        moved = images + change * (radius / size.clamp_min(1e-30)).clamp_max(1)
    return moved.detach()


def attacked(
    rule: Rule, images: Tensor, masks: Tensor, smaller: Tensor, *, radius: float, steps: int, draws: int
) -> Tensor:
    """Return the strongest candidate of each image: the clean one, the best at a smaller radius, and one per aim."""
    generator = derived_generator(0, "certified attack", f"{radius:g}")
    candidates = [images, smaller]
    for aim in AIMS.values():
        candidates.append(ascended(rule, images, masks, aim, radius=radius, steps=steps, draws=draws, seed=generator))
    harm = torch.stack(
        [
            harm_of(rule, one, masks, draws=16, generator=derived_generator(0, "certified choice", f"{radius:g}"))
            for one in candidates
        ]
    )
    best = harm.argmax(0)
    return torch.stack([candidates[int(which)][row] for row, which in enumerate(best)])
