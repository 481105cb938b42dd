"""What every attack promises."""

from typing import Protocol

import torch
from torch import Tensor

from trustseg.attacks.objectives import Objective
from trustseg.attacks.search import Model

__all__ = ["Attack"]


class Attack(Protocol):
    """What evaluation and training call.

    Images stay within eps and [0, 1] and come back detached; eps = 0 gives back the input; inputs are not written to;
    eps is one number, one per image (B,) or one per pixel (B, 1, H, W), so that nothing is changed where it is 0;
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
