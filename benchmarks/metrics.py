"""AUSE and ECE of very many pixels: seconds and memory, against sorting and against torch-uncertainty."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.scenes import DEVICE, ON_GPU
from benchmarks.timing import Figure

QATA = 2113 * 224 * 224  # the pixels of its test set
SIZES = (10**6, 10**7, QATA)
WAYS = ("streamed", "sorted", "torch_uncertainty")


def figures() -> Iterator[Figure]:
    """Yield time ratios and memory at each number of pixels; every way runs in a process of its own."""
    for pixels in SIZES:
        found = {way: _measured(way, pixels) for way in WAYS}
        own = found["streamed"]
        for way in WAYS[1:]:
            if found[way] is None:
                print(f"{way} is not installed, left out")
                continue
            details = {"seconds": found[way]["seconds"], "streamed_seconds": own["seconds"]}
            details |= {"megabytes": found[way]["megabytes"], "difference": abs(found[way]["value"] - own["value"])}
            target = 10.0 if way == "torch_uncertainty" and pixels == QATA else None
            yield Figure(
                f"AUSE of {pixels:.2e} pixels: {way.replace('_', '-')} / streamed",
                found[way]["seconds"] / own["seconds"],
                target=target,
                better="more",
                details=details,
            )
        yield Figure(
            f"AUSE of {pixels:.2e} pixels: memory above the inputs",
            own["megabytes"],
            unit="MB",
            target=300.0 if pixels == QATA else None,
            details={"seconds": own["seconds"]},
        )


def _measured(way: str, pixels: int) -> dict[str, float] | None:
    """Return seconds, megabytes above the inputs and the value, None where the way's library is missing."""
    command = [sys.executable, "-m", "benchmarks.metrics", way, str(pixels)]
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


def _main(way: str, pixels: int) -> None:
    """Compute AUSE once in the way that is asked and print what it took."""
    chunk = 224 * 224 * 64
    if way == "torch_uncertainty":
        try:
            from torch_uncertainty.metrics import AUSE as Peer
        except ImportError:
            raise SystemExit(3) from None
    from trustseg.metrics import AUSE, ause

    uncertainty, probability, masks = _scene(pixels)
    _forget()
    before = _peak()
    since = time.perf_counter()
    if way == "streamed":
        metric = AUSE().to(DEVICE)
        for start in range(0, pixels, chunk):
            part = slice(start, start + chunk)
            metric.update(uncertainty[part], probability[part], masks[part])
        value = float(metric.compute())
    elif way == "sorted":
        value = float(ause(uncertainty, (probability > 0.5) != masks))
    else:
        peer = Peer().to(DEVICE)
        peer.update(uncertainty, ((probability > 0.5) != masks).float())
        value = float(peer.compute())
    seconds = time.perf_counter() - since
    print(json.dumps({"seconds": seconds, "megabytes": _peak() - before, "value": value}))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
