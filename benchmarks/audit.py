"""How long audits take from the command line: of a folder of predictions, and of a large model in an ONNX file."""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

from benchmarks.timing import Figure
from trustseg.data import open_dataset, write_phantoms

IMAGES, SIZE = 32, 128
PREDICTIONS, LARGE = 2113, 224  # the test set of QaTa
BUDGET = "10min"
KNOWN = ("output=logit", "scale=1", "mean=0", "deviation=1")  # weights are random: nothing to find


def figures() -> Iterator[Figure]:
    """Yield time and memory of an audit of predictions, and the time of one of a model on a budget of ten minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = _written_data(folder / "many", PREDICTIONS, LARGE)
        spent = _audited(_written_predictions(folder / "predictions", data), data, folder / "first")
        details: dict[str, float | str] = {"wall seconds": spent.wall, "share of one core": spent.cpu / spent.wall}
        what = f"CPU time, tier 0 of {PREDICTIONS} predictions, {LARGE} px, in PNG files"
        yield Figure(what, spent.cpu, unit="s", target=60.0, details=details)
        yield Figure("its memory at most", spent.gigabytes, unit="GB", target=1.0)

        data = _written_data(folder / "few", IMAGES, SIZE)
        file, weights = _written_model(folder / "unet.onnx")
        known = [part for convention in KNOWN for part in ("--convention", convention)]
        spent = _audited(file, data, folder / "second", "--budget", BUDGET, "--size", str(SIZE), *known)
        plan = json.loads((folder / "second" / "audit.json").read_text())["plan"]
        details = {
            "wall minutes": spent.wall / 60,
            "share of one core": spent.cpu / spent.wall,
            "its memory, GB": spent.gigabytes,
            "images attacked": float(plan["images"]),
            "attacks": ", ".join(plan["attacks"]),
            "left out": "; ".join(plan["left_out"]) or "nothing",
        }
        what = f"CPU time, tier 2 of a U-Net of {weights:.0f} million weights in ONNX, {IMAGES} images, {SIZE} px"
        yield Figure(what, spent.cpu / 60, unit="min", target=10.0, details=details)


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a command took: seconds of CPU time and on the clock, and its largest resident memory."""

    cpu: float
    wall: float
    gigabytes: float


def _audited(model: Path, data: Path, folder: Path, *options: str) -> _Spent:
    """Run ``trustseg audit`` in a process of its own; its verdict may be either."""
    command = [sys.executable, "-m", "trustseg", "audit", str(model), str(data), "-o", str(folder), *options]
    since = time.perf_counter()
    environment = os.environ | {"TRUSTSEG_CACHE": str(folder.with_suffix(".cache"))}  # images are packed anew
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return _Spent(used.ru_utime + used.ru_stime, time.perf_counter() - since, used.ru_maxrss * 1024 / 1e9)


def _written_data(folder: Path, count: int, size: int) -> Path:
    """Write images and masks of generated chest X-rays, of which no more than 500 have a lesion of their own."""
    few = min(count, 500)
    source = write_phantoms(folder / "phantoms", train=few - few // 2, test=few // 2, control=0, size=size)
    pack = open_dataset(source, size=size)
    for kind in ("images", "masks"):
        (folder / "cases" / kind).mkdir(parents=True)
    for number in range(count):
        row, shift = number % few, number // few
        name = f"P{number:04d}.png"  # no two images are alike: each copy is shifted by some columns
        Image.fromarray(np.roll(pack.images[row, 0], shift, axis=1)).save(folder / "cases" / "images" / name)
        Image.fromarray(255 * np.roll(pack.masks[row, 0], shift, axis=1)).save(folder / "cases" / "masks" / name)
    return folder / "cases"


def _written_predictions(folder: Path, data: Path) -> Path:
    """Write a probability map for each mask: the mask moved by up to 8 pixels, blurred, with noise."""
    folder.mkdir()
    for number, path in enumerate(sorted((data / "masks").iterdir())):
        drawn = np.random.default_rng(number)
        mask = torch.from_numpy(np.roll(np.asarray(Image.open(path)), drawn.integers(-8, 9, 2), axis=(0, 1)) > 0)
        blurred = torch.nn.functional.avg_pool2d(mask[None, None].float(), 9, stride=1, padding=4)[0, 0].numpy()
        noisy = 0.05 + 0.9 * blurred + 0.05 * (drawn.random(blurred.shape) - 0.5)
        Image.fromarray(np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)).save(folder / path.name)
    return folder


def _written_model(path: Path) -> tuple[Path, float]:
    """Write a U-Net on ResNet-34 with random weights as ONNX; return the file and how many million weights it has."""
    torch.manual_seed(0)
    network = smp.Unet("resnet34", encoder_weights=None, in_channels=1, classes=1).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the former one
        torch.onnx.export(
            network,
            (torch.rand(2, 1, SIZE, SIZE),),
            str(path),
            dynamo=False,
            input_names=["images"],
            dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}},
        )
    return path, sum(weight.numel() for weight in network.parameters()) / 1e6
