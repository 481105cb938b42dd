"""The cost of an epoch of training, counted and not estimated."""

import sys
import time
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]  # what is missing there

__all__ = ["Cost", "PassCounter", "peak_memory_mb"]

_MEGABYTE: Final = 2**20


class PassCounter:
    """Counts the images that go through a network, ``forward`` and ``backward``, while it is ``on``.

    A backward pass is counted where gradients reach the network's output, whether they are for weights or for images;
    one through the gradients of another counts as well. The network has a hook until ``remove``.
    """

    def __init__(self, network: nn.Module) -> None:
        self.on = True
        self.forward = 0
        self.backward = 0
        self._handle = network.register_forward_hook(self._count)

    def reset(self) -> None:
        """Start again from 0."""
        self.forward = self.backward = 0

    def remove(self) -> None:
        """Leave the network as it was."""
        self._handle.remove()

    def _count(self, network: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not self.on:
            return
        self.forward += len(output)
        if output.requires_grad:
            output.register_hook(self._count_backward)  # type: ignore[no-untyped-call]  # torch leaves it unannotated

    def _count_backward(self, gradient: Tensor) -> None:
        self.backward += len(gradient)
        if gradient.requires_grad:
            gradient.register_hook(self._count_backward)  # type: ignore[no-untyped-call]  # torch leaves it unannotated


class Cost(Callback):
    """Logs what an epoch cost: passes in images, seconds and memory; validation is not counted.

    ``forward_passes`` and ``backward_passes`` count images, those of attacks and scores included, over all processes.
    ``seconds`` is the time between the epoch's first and last step. ``peak_memory_mb`` is on a GPU the most that was
    allocated in the epoch, on a CPU the largest resident size of the process so far; NaN where the system does not
    tell.
    """

    def __init__(self, network: nn.Module) -> None:
        self._passes = PassCounter(network)
        self._passes.on = False
        self._started = self._ended = 0.0

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the network as it was."""
        self._passes.remove()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to count."""
        self._passes.reset()
        self._started = self._ended = time.perf_counter()
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,  # noqa: ANN401 - Lightning's own signature
        batch_idx: int,
    ) -> None:
        """Count what follows."""
        self._passes.on = True

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's own signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Count no validation that may follow."""
        self._ended = time.perf_counter()
        self._passes.on = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the sums."""
        passes = {"forward_passes": self._passes.forward, "backward_passes": self._passes.backward}
        counted = {name: torch.tensor(float(count), device=pl_module.device) for name, count in passes.items()}
        pl_module.log_dict(counted, sync_dist=True, reduce_fx="sum")
        largest = {"seconds": self._ended - self._started, "peak_memory_mb": peak_memory_mb(pl_module.device)}
        pl_module.log_dict(largest, sync_dist=True, reduce_fx="max")


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory that was used, in MB of 2^20 bytes; NaN where the system does not tell.

    On a GPU it is what was allocated since its statistics were reset, on the CPU the largest resident size of the
    process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MEGABYTE
    if resource is None:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit / _MEGABYTE
