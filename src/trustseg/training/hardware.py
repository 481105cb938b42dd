"""Requirements of a training on the machine (precision, memory, devices), and errors where it falls short."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from trustseg.config import RunConfig
from trustseg.errors import ConfigError, RunError
from trustseg.models import Segmenter

__all__ = ["compile_network", "is_compiler_error", "out_of_memory_error", "reason_of", "require_precision", "threads"]

_log = logging.getLogger(__name__)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Run with ``count`` CPU threads, or as many as before if None; restore the number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def require_precision(precision: str, device: torch.device) -> None:
    """Raise a ConfigError if a GPU computes in a precision by emulation only, which is slower than float32."""
    if precision != "bf16-mixed" or device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False):
        return
    raise ConfigError(
        f"training.precision={precision} needs a GPU with bfloat16, {torch.cuda.get_device_name(device)} has none; "
        "set training.precision=32-true"
    )


def compile_network(segmenter: Segmenter) -> None:
    """Let the network be compiled when it is first used; where that fails, a line in the log says so and it runs as is.

    The module stays what it is: weights keep their names, and hooks see every pass. The backward pass is compiled when
    the first gradient is asked for, too late to go back: where that fails, the error passes, see ``is_compiler_error``.
    """
    network = segmenter.network
    plain = network.forward
    compiled = torch.compile(plain)

    def forward(images: Tensor) -> Tensor:
        try:
            logits: Tensor = compiled(images)
        except RuntimeError as error:
            if not is_compiler_error(error):
                raise
            _log.warning("the network could not be compiled (%s); training continues without", reason_of(error))
            network.forward = plain
            logits = plain(images)
        return logits

    network.forward = forward


def is_compiler_error(error: BaseException) -> bool:
    """Return whether an error is one of ``torch.compile``, not one of what it compiles."""
    from torch._dynamo.exc import TorchDynamoException  # takes a second, which few trainings need to wait

    return isinstance(error, TorchDynamoException)


def reason_of(error: BaseException) -> str:
    """Return the first two lines of an error's message (the second names the cause), or its class if it is empty."""
    return " ".join(str(error).split("\n")[:2]).strip() or type(error).__name__


def out_of_memory_error(config: RunConfig, device: torch.device) -> RunError:
    """Return the error for a step that did not fit into memory, with a batch size that takes half of it."""
    options = config.training
    got = f"out of memory on the {'CPU' if device.type == 'cpu' else 'GPU'} in a step of"
    if options.batch_size == 1:
        return RunError(
            f"{got} one image of data.size={config.data.size}; set a smaller data.size, model.encoder or model.depth"
        )
    half = options.batch_size // 2
    return RunError(
        f"{got} training.batch_size={options.batch_size}; set training.batch_size={half}, which needs about half as "
        f"much, and training.accumulate={2 * options.accumulate} for about as many images per step"
    )
