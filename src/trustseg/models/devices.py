"""Where to compute."""

import torch

__all__ = ["device_of"]


def device_of(accelerator: str) -> str:
    """Return the torch device that an accelerator setting means on this machine.

    Args:
        accelerator: ``"cpu"``, or ``"auto"``, ``"gpu"`` or ``"cuda"`` for a GPU where there is one.

    Returns:
        ``"cuda"`` or ``"cpu"``.

    Example:
        >>> device_of("cpu")
        'cpu'
    """
    return "cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
