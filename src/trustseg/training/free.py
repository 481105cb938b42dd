"""Free adversarial training: the backward pass that moves the weights moves the perturbation too."""

import torch
from torch import Tensor

__all__ = ["FREE", "FreePerturbation"]

FREE = "free"
"""Name of this way among the training attacks; it is no attack on its own."""


class FreePerturbation:
    """The perturbation that is carried from step to step and from batch to batch of an epoch.

    Each batch is trained on several times. ``applied`` gives the images to train on; once the loss has gone backwards,
    ``advance`` moves d to clip(d + eps sign g, -eps, eps), with g its gradient in that very pass.

    Reference:
        Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019, arXiv:1904.12843, algorithm 1.
        Deviation: it starts at 0 in every epoch instead of once, so that a resumed training needs no memory of it.
    """

    def __init__(self) -> None:
        self._carried: Tensor | None = None
        self._applied: Tensor | None = None
        self._eps = torch.zeros(())

    def reset(self) -> None:
        """Start again from no perturbation."""
        self._carried = self._applied = None

    def applied(self, images: Tensor, *, eps: float | Tensor) -> Tensor:
        """Return the perturbed images, through which a gradient reaches the perturbation.

        Args:
            images: (B, C, H, W) in [0, 1].
            eps: L-inf budget of this step in pixel units of [0, 1], one number or one per pixel (B, 1, H, W).

        Returns:
            (B, C, H, W) in [0, 1], within eps of ``images``.
        """
        if self._carried is None or len(self._carried) < len(images):
            self._carried = torch.zeros_like(images)
        self._eps = torch.as_tensor(eps, dtype=images.dtype, device=images.device)
        carried = self._carried[: len(images)].clamp(-self._eps, self._eps)
        self._applied = carried.detach().requires_grad_()
        return (images + self._applied).clamp(0, 1)

    def advance(self) -> None:
        """Move the perturbation along the sign of its gradient; without one since the last call, leave it."""
        if self._applied is None or self._applied.grad is None or self._carried is None:
            return
        moved = self._applied.detach() + self._eps * self._applied.grad.sign()
        self._carried[: len(moved)] = moved.clamp(-self._eps, self._eps)
        self._applied = None
