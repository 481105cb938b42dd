"""Attacks: images that fool a model, within a budget, without touching the model.

``OBJECTIVES`` lists what they increase. Every entry of ``ATTACKS`` keeps the contract written at ``Attack``.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import torch
from torch import Tensor

from trustseg.attacks.gradient import fgsm, pgd, r_fgsm
from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import OBJECTIVES, Objective
from trustseg.attacks.search import Model

__all__ = ["ATTACKS", "OBJECTIVES", "Attack", "Model", "Objective", "fgsm", "isolated", "pgd", "r_fgsm"]


class Attack(Protocol):
    """What evaluation and training call.

    Images stay within eps and [0, 1] and come back detached; eps = 0 gives back the input; inputs are not written to;
    train flags, buffers, parameter gradients and the global random state are left as found; the same generator seed
    gives the same bits. With ``keep_best`` the clean image is a candidate, so an attack never helps the defender.
    """

    def __call__(
        self,
        model: Model,
        images: Tensor,
        masks: Tensor,
        *,
        eps: float | Tensor,
        objective: str | Objective = "cross_entropy",
        generator: torch.Generator | None = None,
        keep_best: bool = True,
    ) -> Tensor:
        """Return adversarial images (B, C, H, W) of ``images`` and their reference ``masks`` (B, 1, H, W)."""


ATTACKS: Final[Mapping[str, Attack]] = {
    "fgsm": fgsm,
    "r_fgsm": r_fgsm,
    "pgd": pgd,
}
