"""The worst case of each image over several attacks: the basis of a robustness number.

One attack that fails is no evidence of robustness; of several different ones, each image is judged by the one that
harmed it most, not by the one that harmed the average image most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks.auto_pgd import find_judge
from trustseg.attacks.black_box import transfer
from trustseg.attacks.entries import ATTACKS
from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import Objective, find_objective
from trustseg.attacks.presets import Member, Preset, members_of
from trustseg.attacks.projections import LINF
from trustseg.attacks.search import Model, Search, eps_of, harm
from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.errors import AttackError, ShapeError
from trustseg.masks import counted, counted_mean
from trustseg.progress import ProgressCallback

__all__ = ["Strongest", "ensemble", "strongest"]


LARGEST_MEAN_ODDS: Final = 32.0
"""Largest mean |log-odds| of a clean image that members meet; beyond it, losses hardly see a pixel that is right."""


@dataclass(frozen=True, slots=True)
class Strongest:
    """The most harmful version of each image, and where it comes from.

    Attributes:
        images: (B, C, H, W) float32, detached, within eps and [0, 1].
        harm: (B,) in [0, 1]: 1 - Dice; where the mask is empty, the share of pixels predicted as foreground.
        winner: one name per image: of the first member that reached this harm, ``"candidate"`` or ``"clean"``.
        passes: (B,) int64, backward passes spent on the image.
    """

    images: Tensor
    harm: Tensor
    winner: tuple[str, ...]
    passes: Tensor


def ensemble(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    preset: Preset = "quick",
    surrogates: Sequence[Model] = (),
    candidates: Sequence[Tensor] = (),
    generator: torch.Generator | None = None,
    report: ProgressCallback | None = None,
) -> Tensor:
    """Return the images of ``strongest``, which describes the arguments: each in its most harmful version.

    Args:
        preset: ``"quick"`` (101 backward passes per image), ``"standard"`` (511; 811 for a Beta) or ``"thorough"``
            (1511; 2411 for a Beta; 5000 forward passes; 100 more for each surrogate).

    Reference:
        As ``strongest``.
    """
    return strongest(
        model,
        images,
        masks,
        eps=eps,
        preset=preset,
        surrogates=surrogates,
        candidates=candidates,
        generator=generator,
        report=report,
    ).images


def strongest(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    preset: Preset = "quick",
    surrogates: Sequence[Model] = (),
    candidates: Sequence[Tensor] = (),
    generator: torch.Generator | None = None,
    report: ProgressCallback | None = None,
) -> Strongest:
    """Return the most harmful version of each image over the members of a preset, and which member found it.

    The clean image and the ``candidates`` compete too, so nothing that was tried does more harm than what is returned.
    An image that cannot be harmed more (Dice 0; with an empty mask, foreground everywhere) is spared further members.

    Multiplying all log-odds by a constant changes no mask, yet makes the gradients of losses vanish. Where the mean
    |log-odds| of a clean image exceeds 32, its members see log-odds divided down to that mean. Exceptions are FGSM and
    PGD, which are there to be as one knows them, and those for Betas alone.

    Args:
        preset: which members, a name in ``PRESETS``.
        surrogates: other models for the same task, used by ``"thorough"`` for transfer attacks; an error elsewhere.
        candidates: further versions of the images, each (B, C, H, W), projected onto ball and box first. Pass those
            found with a smaller eps, and harm cannot fall as eps grows.
        generator: source of random starts and squares; by default one seeded with 0.
        report: called after every member with the number of members done and their total.

    Reference:
        Croce and Hein, arXiv:2003.01690, section 5; Croce et al., arXiv:2306.12941, the attack SEA.
        Deviations: losses for one logit and for evidence, log-odds divided down where they are too large, and the worst
        case is that of each image by its Dice.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    with isolated(model):
        worst = _Worst(model, images, masks, eps)
        members = members_of(preset, evidential=worst.evidential, surrogates=len(surrogates))
        if surrogates and not any(member.transferred for member in members):
            raise AttackError(
                f"{preset} uses no surrogates, got {len(surrogates)}; choose 'thorough', or leave them out"
            )
        all_rows = torch.arange(len(images), device=images.device)
        for candidate in candidates:
            if candidate.shape != images.shape:
                raise ShapeError(
                    f"candidates must be shaped like the images, {tuple(images.shape)}, got {tuple(candidate.shape)}"
                )
            within = LINF.project(candidate.detach().to(worst.clean), worst.clean, worst.radius)
            worst.offer("candidate", all_rows, within)
        start = LINF.start(worst.clean, worst.radius, generator)  # of all images, whichever remain
        remaining_surrogates = iter(surrogates)
        for done, member in enumerate(members, start=1):
            rows = worst.unbroken()
            surrogate = next(remaining_surrogates) if member.transferred else None
            if len(rows) > 0:
                attacked = _attacked(member, model, worst, rows, start, surrogate, generator)
                worst.offer(member.name, rows, attacked, passes=member.backward_passes)
            if report is not None:
                report(done, len(members))
        return Strongest(worst.images, worst.harm, tuple(worst.winner), worst.passes)


class _Worst:
    """The most harmful version of each image so far; ties go to the earlier one. For use in ``isolated``."""

    def __init__(self, model: Model, images: Tensor, masks: Tensor, eps: float | Tensor) -> None:
        with torch.no_grad():
            search = Search(model, images, masks, eps=eps, objective="margin", keep_best=False)
            belief = search.belief(search.images)
        self.clean, self.masks, self.radius = search.images, search.masks, search.radius
        self.budget = eps_of(search)
        self.evidential = isinstance(belief, Beta)
        odds = counted_mean(belief.log_odds.abs(), counted(self.masks), empty=0.0)
        self.temperature = (odds / LARGEST_MEAN_ODDS).clamp_min(1).view(-1, 1, 1, 1)
        self.images = self.clean.clone()
        self.harm = harm(belief, self.masks)
        self.winner = ["clean"] * len(images)
        self.passes = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        self._model = model

    def unbroken(self) -> Tensor:
        """Return the rows of the images that can still be harmed more."""
        return (self.harm < 1).nonzero().flatten()

    def offer(self, name: str, rows: Tensor, candidates: Tensor, *, passes: int = 0) -> None:
        """Measure new versions of some images and keep those that do more harm."""
        with torch.no_grad():
            harms = harm(self._model(candidates), self.masks[rows])
        better = harms > self.harm[rows]
        self.images[rows[better]], self.harm[rows[better]] = candidates[better], harms[better]
        self.passes[rows] += passes
        for row in rows[better].tolist():
            self.winner[row] = name


def _attacked(
    member: Member,
    model: Model,
    found: _Worst,
    rows: Tensor,
    start: Tensor,
    surrogate: Model | None,
    generator: torch.Generator,
) -> Tensor:
    """Return the images of these rows as a member attacks them."""
    images, masks, eps = found.clean[rows], found.masks[rows], found.budget[rows]
    objective, track = find_objective(member.objective), find_judge(member.objective)
    if not member.plain:
        cooled = {function: _cooled(function, found.temperature[rows]) for function in {objective, track}}
        objective, track = cooled[objective], cooled[track]  # one function where they are one: asked once a step
    entry = ATTACKS[member.attack]
    options = {"steps": member.steps, "track": track, "start": start[rows]}
    attack = partial(entry, **{option: value for option, value in options.items() if entry.takes(option)})
    if surrogate is not None:
        return transfer(model, images, masks, eps=eps, surrogate=surrogate, attack=attack, objective=objective)
    source = generator if entry.facts.random else None  # PGD starts at the image
    return attack(model, images, masks, eps=eps, objective=objective, generator=source)


def _cooled(objective: Objective, temperature: Tensor) -> Objective:
    """Return the objective of log-odds divided by ``temperature``, (B, 1, 1, 1)."""

    def cooled(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        return objective(Bernoulli(belief.log_odds / temperature), masks, progress)

    return cooled
