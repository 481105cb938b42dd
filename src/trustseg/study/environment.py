"""The environment of a worker: threads, which decide the last digits of its results, and a GPU."""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

from trustseg.config import RunConfig

__all__ = ["with_threads", "worker_environment"]

GPUS: Final = "CUDA_VISIBLE_DEVICES"

_Config = TypeVar("_Config", bound=RunConfig)


def with_threads(config: _Config) -> _Config:
    """Return the configuration of a study in which every cell computes with a fixed number of threads: one by default.

    So results do not depend on how many cells run side by side, and on a CPU one process for each core with one thread
    is faster than fewer with several.
    """
    if config.training.threads is not None:
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"threads": 1})})


def worker_environment(threads: int, number: int) -> dict[str, str]:
    """Return the environment of a worker.

    Args:
        threads: of the libraries that it computes with.
        number: which worker it is, counted from 0; they take the GPUs in turn.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    gpus = _gpus()
    return environment | ({GPUS: gpus[number % len(gpus)]} if len(gpus) > 1 else {})


def _gpus() -> Sequence[str]:
    """Return what the GPUs that this process may use are called, in the order in which they are numbered."""
    if GPUS in os.environ:
        return [name for name in os.environ[GPUS].split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
