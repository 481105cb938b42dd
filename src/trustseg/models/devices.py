"""Where to compute."""

import torch

__all__ = ["device_of"]


def device_of(accelerator: str) -> str:
    """Return ``"cuda"`` where a GPU is wanted (``"auto"``, ``"gpu"`` or ``"cuda"``) and found, otherwise ``"cpu"``.

    Example:
        >>> device_of("cpu")
        'cpu'
    """
    return "cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
