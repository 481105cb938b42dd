"""Attacks: images that fool a model, within a budget, without touching the model.

``OBJECTIVES`` lists what they increase. Every entry of ``ATTACKS`` keeps the contract written at ``Attack``.
"""

from collections.abc import Mapping
from typing import Final

from trustseg.attacks.auto_pgd import apgd, staged
from trustseg.attacks.black_box import square, transfer
from trustseg.attacks.contract import Attack
from trustseg.attacks.guard import isolated
from trustseg.attacks.iterated import bim, mi_fgsm, pgd
from trustseg.attacks.minimal import Bracket, minimal_eps
from trustseg.attacks.minimal_norm import Nearest, carlini_wagner_like, deepfool_like
from trustseg.attacks.objectives import OBJECTIVES, Objective
from trustseg.attacks.presets import PRESETS, Member, backward_passes, members_of
from trustseg.attacks.search import Model
from trustseg.attacks.single_step import fgsm, n_fgsm, r_fgsm, rs_fgsm
from trustseg.attacks.uncertainty import (
    UNCERTAINTY_ATTACKS,
    deferral_aware,
    overconfidence,
    rank_swap,
    underconfidence,
)
from trustseg.attacks.weighted import cospgd, segpgd
from trustseg.attacks.worst_case import Strongest, ensemble, strongest

__all__ = [
    "ATTACKS",
    "OBJECTIVES",
    "PRESETS",
    "UNCERTAINTY_ATTACKS",
    "Attack",
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
    "fgsm",
    "isolated",
    "members_of",
    "mi_fgsm",
    "minimal_eps",
    "n_fgsm",
    "overconfidence",
    "pgd",
    "r_fgsm",
    "rank_swap",
    "rs_fgsm",
    "segpgd",
    "square",
    "staged",
    "strongest",
    "transfer",
    "underconfidence",
]

ATTACKS: Final[Mapping[str, Attack]] = {
    "fgsm": fgsm,
    "r_fgsm": r_fgsm,
    "rs_fgsm": rs_fgsm,
    "bim": bim,
    "mi_fgsm": mi_fgsm,
    "pgd": pgd,
    "segpgd": segpgd,
    "cospgd": cospgd,
    "apgd": apgd,
    "staged": staged,
    "square": square,
}
