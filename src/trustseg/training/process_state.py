"""What a training changes in its process and leaves as it was: log levels, algorithms, signal handlers."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

__all__ = ["quiet_lightning", "restored_determinism", "restored_interrupts"]


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice (more workers, tips, hardware it found) out of the user's terminal."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("lightning.pytorch", "lightning.fabric"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.(pytorch|fabric)")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def restored_determinism() -> Iterator[None]:
    """Leave the process's choice of algorithms as found, deterministic or the fastest; Lightning sets it for good.

    With them torch would also fill all new memory, lest anyone read it before it is written; no layer here does.
    """
    memory: Any = torch.utils.deterministic  # a module with a property, which mypy does not see
    filled, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False
    deterministic, fastest = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = fastest
        memory.fill_uninitialized_memory = filled


@contextmanager
def restored_interrupts() -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt again, where Lightning exits with 1 and ignores further ones."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException as end:
        raise SystemExit(128 + signal.SIGTERM) from end
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
