"""AUSE and ECE of very many pixels: seconds and memory, against sorting, torch-uncertainty and torchmetrics."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics import Metric

from benchmarks.scenes import DEVICE, ON_GPU
from benchmarks.timing import Figure

QATA = 2113 * 224 * 224  # the pixels of its test set
SIZES = (10**6, 10**7, QATA)
CHUNK = 64 * 224 * 224
Work = Callable[[Tensor, Tensor, Tensor], Tensor]
WAYS = {
    "AUSE": ("streamed", "sorted", "torch-uncertainty"),
    "ECE": ("streamed", "torchmetrics"),
}


def figures() -> Iterator[Figure]:
    """Yield time ratios and memory at each number of pixels; every way runs in a process of its own."""
    for score, ways in WAYS.items():
        for pixels in SIZES:
            yield from _compared(score, ways, pixels)


def _compared(score: str, ways: Sequence[str], pixels: int) -> Iterator[Figure]:
    found = {way: _measured(score, way, pixels) for way in ways}
    own = found["streamed"]
    for way in ways[1:]:
        if found[way] is None:
            print(f"{way} is not installed, left out")
            continue
        details = {"seconds": found[way]["seconds"], "streamed_seconds": own["seconds"]}
        details |= {"megabytes": found[way]["megabytes"], "difference": abs(found[way]["value"] - own["value"])}
        target = 10.0 if way == "torch-uncertainty" and pixels == QATA else None
        name, ratio = f"{score} of {pixels:.2e} pixels: {way} / streamed", found[way]["seconds"] / own["seconds"]
        yield Figure(name, ratio, target=target, better="more", details=details)
    yield Figure(
        f"{score} of {pixels:.2e} pixels: memory above the inputs",
        own["megabytes"],
        unit="MB",
        target=300.0 if pixels == QATA and score == "AUSE" else None,
        details={"seconds": own["seconds"]},
    )


def _measured(score: str, way: str, pixels: int) -> dict[str, float] | None:
    """Return seconds, megabytes above the inputs and the value, None where the way's library is missing."""
    command = [sys.executable, "-m", "benchmarks.metrics", score, way, str(pixels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _scene(pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return uncertainty, probability and masks with many saturated ties, made in place to keep the peak low.

    They are drawn on the CPU, so that they are the same on every device.
    """
    generator = torch.Generator().manual_seed(0)
    probability = torch.randn(pixels, generator=generator).mul_(6).sigmoid_()
    masks = torch.rand(pixels, generator=generator).lt_(probability)
    uncertainty = torch.minimum(probability, 1 - probability)
    uncertainty[uncertainty < 0.01] = 0
    return uncertainty.to(DEVICE), probability.to(DEVICE), masks.to(DEVICE)


def _peak() -> float:
    """Return the largest memory since the last ``_forget`` in MB, of the GPU where it is that which computes."""
    if ON_GPU:
        return torch.cuda.max_memory_allocated() / 2**20
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _forget() -> None:
    """Let the largest memory start again from what is held now."""
    if ON_GPU:
        torch.cuda.reset_peak_memory_stats()
        return
    Path("/proc/self/clear_refs").write_text("5")


def _main(score: str, way: str, pixels: int) -> None:
    """Compute a score once in the way that is asked and print what it took."""
    try:
        work = {"AUSE": _ause, "ECE": _ece}[score](way)
    except ImportError:
        raise SystemExit(3) from None
    work(*(part[:1000] for part in _scene(1000)))  # kernels are loaded at the first call
    scene = _scene(pixels)
    _forget()
    before = _peak()
    since = time.perf_counter()
    value = float(work(*scene))
    seconds = time.perf_counter() - since
    print(json.dumps({"seconds": seconds, "megabytes": _peak() - before, "value": value}))


def _ause(way: str) -> Work:
    """Return a way to AUSE."""
    from trustseg.metrics import AUSE, ause

    if way == "sorted":
        return lambda uncertainty, probability, masks: ause(uncertainty, (probability > 0.5) != masks)
    if way == "streamed":
        return lambda *scene: _streamed(AUSE().to(DEVICE), *scene)
    from torch_uncertainty.metrics import AUSE as Peer

    def peer(uncertainty: Tensor, probability: Tensor, masks: Tensor) -> Tensor:
        metric = Peer().to(DEVICE)
        metric.update(uncertainty, ((probability > 0.5) != masks).float())
        return metric.compute()

    return peer


def _ece(way: str) -> Work:
    """Return a way to the expected calibration error of 15 bins."""
    from torchmetrics.classification import BinaryCalibrationError

    from trustseg.metrics import CalibrationError

    if way == "streamed":
        return lambda _, probability, masks: _streamed(
            CalibrationError(bins=15).to(DEVICE), probability[None], masks[None]
        )

    def peer(_: Tensor, probability: Tensor, masks: Tensor) -> Tensor:
        metric = BinaryCalibrationError(n_bins=15, norm="l1").to(DEVICE)
        metric.update(probability, masks.long())
        return metric.compute()

    return peer


def _streamed(metric: Metric, *scene: Tensor) -> Tensor:
    """Return a metric that was given 64 images at a time."""
    for start in range(0, scene[0].shape[-1], CHUNK):
        metric.update(*(part[..., start : start + CHUNK] for part in scene))
    return metric.compute()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
