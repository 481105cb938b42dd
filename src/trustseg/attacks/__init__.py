"""Attacks: images that fool a model, within a budget, without changing the model.

An attack is called as ``attack(model, images, masks, *, eps, objective="cross_entropy", generator=None,
keep_best=True, ...)``. The following holds for every entry of ``ATTACKS``, for ``UNCERTAINTY_ATTACKS`` and
the attack suite ``ensemble``; the docstring of an attack adds its formula, its own options and its source.

Args:
    model: any callable from images to a belief. It runs in eval mode; mode, buffers, parameter gradients and the
        global random state are left as found.
    images: (B, C, H, W) float32 in [0, 1]; not written to.
    masks: reference masks (B, 1, H, W), each value 0 or 1, NaN where ignored: see ``trustseg.attacks.objectives``.
    eps: budget in pixel units of [0, 1], >= 0: one number, one per image (B,), or one per pixel (B, 1, H, W). A pixel
        with eps = 0 stays as it is. Its norm is ``norm``, or L-infinity.
    objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
    generator: source of all randomness; the same seed gives the same bits. Mandatory where the docstring names what is
        drawn without calling it optional; attacks that draw nothing ignore it.
    steps: number of steps, >= 1; each costs one backward pass, unless the docstring says otherwise.
    norm: ``"linf"`` or ``"l2"``, for steps along the sign of the gradient or along the normalised gradient.
    keep_best: return per image the most harmful of all iterates and the clean image, so that an attack never helps the
        defender. Harm is 1 - Dice, for an empty mask the share of pixels predicted as foreground; ties go to the larger
        objective, then to the earlier iterate. ``False`` returns the last iterate and, in single-step attacks, saves a
        forward pass.

Returns:
    (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1]; eps = 0 gives back the input.

Raises:
    AttackError: if an option is out of range, a mandatory generator is missing, ``images`` leave [0, 1] or are not
        finite, ``eps`` is negative, not finite or (L-infinity) above 1, the model returns no belief, or objective or
        gradient are missing or not finite.
    ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0, 1 and NaN.
    UnknownNameError: if there is no objective, norm or preset of that name.
"""

from collections.abc import Mapping
from typing import Final

from trustseg.attacks.adam import padam
from trustseg.attacks.auto_pgd import apgd, staged
from trustseg.attacks.black_box import square, transfer
from trustseg.attacks.contract import Attack, AttackFacts, once
from trustseg.attacks.entries import ATTACKS, AttackEntry
from trustseg.attacks.guard import isolated
from trustseg.attacks.iterated import bim, cospgd, mi_fgsm, pgd, segpgd
from trustseg.attacks.minimal import Bracket, minimal_eps
from trustseg.attacks.minimal_norm import Nearest, carlini_wagner_like, deepfool_like
from trustseg.attacks.objectives import OBJECTIVES, Objective
from trustseg.attacks.presets import PRESETS, Member, backward_passes, members_of
from trustseg.attacks.search import Model
from trustseg.attacks.single_step import fgsm, n_fgsm, r_fgsm, rs_fgsm
from trustseg.attacks.uncertainty import UNCERTAINTY_ATTACKS, deferral_aware, overconfidence, rank_swap, underconfidence
from trustseg.attacks.worst_case import Strongest, ensemble, strongest
from trustseg.entries import CONTRACT, Entry

__all__ = [
    "ATTACKS",
    "OBJECTIVES",
    "PRESETS",
    "UNCERTAINTY_ATTACKS",
    "Attack",
    "AttackFacts",
    "Bracket",
    "Member",
    "Model",
    "Nearest",
    "Objective",
    "Strongest",
    "apgd",
    "backward_passes",
    "bim",
    "carlini_wagner_like",
    "cospgd",
    "deepfool_like",
    "deferral_aware",
    "ensemble",
    "evaluation_attacks",
    "fgsm",
    "isolated",
    "members_of",
    "mi_fgsm",
    "minimal_eps",
    "n_fgsm",
    "overconfidence",
    "padam",
    "pgd",
    "r_fgsm",
    "rank_swap",
    "rs_fgsm",
    "segpgd",
    "square",
    "staged",
    "strongest",
    "training_attacks",
    "transfer",
    "underconfidence",
]


def _of_members(*, preset: str, evidential: bool = False, **_: object) -> tuple[float, float]:
    members = members_of(preset, evidential=evidential)
    return sum(member.steps for member in members), sum(member.backward_passes for member in members)


_CANDIDATES: Final = CONTRACT | {"candidates", "surrogates", "report"}
_ENSEMBLE: Final = Entry(ensemble, "ensemble", AttackFacts(_of_members, random=True, carries=True), _CANDIDATES)
_NOISY_FGSM: Final = Entry(n_fgsm, "N-FGSM", AttackFacts(once, single_step=True, random=True))


def training_attacks() -> Mapping[str, AttackEntry]:
    """Return the attacks that training may use: ``ATTACKS``, and ``n_fgsm``, which leaves the ball."""
    return {**ATTACKS, "n_fgsm": _NOISY_FGSM}


def evaluation_attacks() -> Mapping[str, AttackEntry]:
    """Return the attacks that an evaluation may use: ``ATTACKS``, their suite, and those on the uncertainty."""
    return {**ATTACKS, "ensemble": _ENSEMBLE, **UNCERTAINTY_ATTACKS}
