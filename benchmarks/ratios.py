"""Speed as ratios measured in one run: `make bench`. Prints a line for each and writes runs/bench.json.

A ratio compares two ways of doing the same work on this machine, so it means something elsewhere too.
"""

import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from trustseg.attacks import pgd
from trustseg.data import open_dataset, write_pack, write_phantoms
from trustseg.data.decode import foreground, read_image, read_mask
from trustseg.data.module import pack_loader
from trustseg.metrics import AUSE, ause
from trustseg.models import build_segmenter

ROOT = Path(__file__).parent.parent


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        since = time.perf_counter()
        work()
        times.append(time.perf_counter() - since)
    return min(times)


def phantoms_a_second(folder: Path) -> float:
    """Return how many generated images of 128 px are written in a second."""
    count = 600
    since = time.perf_counter()
    write_phantoms(folder / "phantoms", train=count, test=0, control=0, size=128)
    return count / (time.perf_counter() - since)


def pack_against_png(folder: Path) -> float:
    """Return how many times faster an epoch is read from a pack than decoded from its image files."""
    source = folder / "phantoms"
    write_pack(source, folder / "pack", size=128)
    pack = open_dataset(folder / "pack")
    images = sorted((source / "Train Set" / "Images").iterdir())
    masks = sorted((source / "Train Set" / "Ground-truths").iterdir())

    def decode() -> None:
        for image, mask in zip(images, masks, strict=True):
            read_image(image)
            foreground(read_mask(mask).pixels, mask)

    rows = np.arange(len(pack))
    return seconds(decode) / seconds(lambda: [None for _ in pack_loader(pack, rows, batch_size=16)])


def pgd_against_floor() -> float:
    """Return the time of PGD-10 in units of ten bare forward and backward passes to the image."""
    segmenter = build_segmenter(architecture="unet", encoder="resnet18", head="beta").eval()
    images = torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    masks = (images > 0.5).float()

    def floor() -> None:
        for _ in range(10):
            inputs = images.clone().requires_grad_(True)
            torch.autograd.grad(segmenter.belief(inputs).log_odds.sum(), inputs)

    generator = torch.Generator().manual_seed(0)
    attack = seconds(lambda: pgd(segmenter, images, masks, eps=4 / 255, steps=10, keep_best=False, generator=generator))
    return attack / seconds(floor)


def streaming_against_sorting() -> float:
    """Return how many times faster AUSE of ten million pixels is streamed than sorted exactly."""
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(10_000_000, generator=generator)
    masks = (torch.rand(10_000_000, generator=generator) < probability).float()
    uncertainty = torch.minimum(probability, 1 - probability)

    def stream() -> None:
        metric = AUSE()
        metric.update(uncertainty, probability, masks)
        metric.compute()

    wrong = (probability > 0.5) != (masks > 0.5)
    return seconds(lambda: ause(uncertainty, wrong), 1) / seconds(stream, 1)


def main() -> None:
    """Measure, print and keep the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = {
            "phantoms of 128 px a second": phantoms_a_second(folder),
            "reading an epoch: image files / pack": pack_against_png(folder),
        }
    measured["PGD-10 / ten bare passes"] = pgd_against_floor()
    measured["AUSE of 1e7 pixels: sorted / streamed"] = streaming_against_sorting()
    for label, value in measured.items():
        print(f"{label:45} {value:8.2f}")
    about = {"machine": platform.machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    (ROOT / "runs").mkdir(exist_ok=True)
    (ROOT / "runs" / "bench.json").write_text(json.dumps({**about, "measured": measured}, indent=2) + "\n")


if __name__ == "__main__":
    main()
