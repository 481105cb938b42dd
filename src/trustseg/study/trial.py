"""How fast a run trains on this machine, tried with an untrained network on grey images.

Started as ``python -m trustseg.study.trial SECONDS`` it reads a run in JSON from a line, says ``ready``, waits for
another line, trains for so long and says how many images a second that were.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from trustseg.config import RunConfig
from trustseg.errors import RunError

__all__ = ["COUNTS", "images_a_second", "trial_step", "worker_environment"]

COUNTS: Final = (1, 2, 4, 8)
GPUS: Final = "CUDA_VISIBLE_DEVICES"
WORTH_IT: Final = 1.05
"""What more workers have to gain to be tried further: less is within what a measurement of seconds can tell."""


def trial_step(config: RunConfig) -> Callable[[], int]:
    """Return a function that takes a step forward and back and returns its number of images.

    Args:
        config: the run; its device, batch and precision are taken.
    """
    import torch

    from trustseg.losses import LOSSES
    from trustseg.models import device_of
    from trustseg.training.run import initial_segmenter

    device, size = device_of(config.training.accelerator), config.data.size
    segmenter = initial_segmenter(config).to(device)
    batch = max(2, config.training.batch_size)
    images = torch.full((batch, config.data.channels, size, size), 0.5, device=device)
    masks = torch.zeros((batch, 1, size, size), device=device)

    def step() -> int:
        with torch.random.fork_rng():  # dropout draws
            with torch.autocast(device, torch.bfloat16, enabled=config.training.precision == "bf16-mixed"):
                loss = LOSSES["binary_cross_entropy"](segmenter.belief(images), masks).mean()
            torch.autograd.backward(loss)
        if device == "cuda":
            torch.cuda.synchronize()
        return batch

    return step


def worker_environment(jobs: int, number: int) -> dict[str, str]:
    """Return the environment of one of ``jobs`` workers: an equal share of the processor's cores, and one of the GPUs.

    Args:
        jobs: how many work side by side.
        number: which of them it is, counted from 0; they take the GPUs in turn.
    """
    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    gpus = _gpus()
    return environment | ({GPUS: gpus[number % len(gpus)]} if len(gpus) > 1 else {})


def _gpus() -> Sequence[str]:
    """Return what the GPUs that this process may use are called, in the order in which they are numbered."""
    if GPUS in os.environ:
        return [name for name in os.environ[GPUS].split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def images_a_second(config: RunConfig, *, counts: Sequence[int] = COUNTS, seconds: float = 4) -> Mapping[int, float]:
    """Return how many images a second this machine trains on with some numbers of workers side by side.

    It ends at the first number that brings less than 5 % more than the best so far, or for which memory is too small.

    Args:
        config: the run.
        counts: numbers of workers, rising.
        seconds: how long each number is tried.

    Raises:
        RunError: if not even the first number of workers can train.
    """
    found: dict[int, float] = {}
    for count in counts:
        rate = _rate(config, count, seconds)
        if rate is None and not found:
            raise RunError("no worker could take a single step, see above; mend the cause or give --jobs a number")
        best = max(found.values(), default=0.0)
        if rate is not None:
            found[count] = rate
        if rate is None or rate < WORTH_IT * best:
            break
    return found


def _rate(config: RunConfig, count: int, seconds: float) -> float | None:
    """Return the images a second of ``count`` workers together, None if one of them failed."""
    command = [sys.executable, "-m", "trustseg.study.trial", str(seconds)]
    errors = None if count == 1 else subprocess.DEVNULL  # what is wrong with the run, one tells
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=worker_environment(count, number),
                    text=True,
                )
            )
            for number in range(count)
        ]
        for worker in workers:
            stack.callback(worker.kill)
        try:
            for words, answer in ((config.model_dump_json(), "ready"), ("go", None)):
                for worker in workers:
                    _say(worker, words)
                told = [_answer(worker) for worker in workers]
                if "" in told or (answer is not None and told != [answer] * count):
                    return None
        except BrokenPipeError:
            return None
    return sum(map(float, told))


def _say(worker: "subprocess.Popen[str]", words: str) -> None:
    if worker.stdin is not None:
        worker.stdin.write(f"{words}\n")
        worker.stdin.flush()


def _answer(worker: "subprocess.Popen[str]") -> str:
    """Return the next line of a worker, an empty one if it has ended."""
    return worker.stdout.readline().strip() if worker.stdout is not None else ""


def _main(seconds: float) -> None:
    step = trial_step(RunConfig.model_validate_json(sys.stdin.readline()))
    for _ in range(2):
        step()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    since, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - since) < seconds:
        done += step()
    sys.stdout.write(f"{done / spent}\n")


if __name__ == "__main__":
    _main(float(sys.argv[1]))
