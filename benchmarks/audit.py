"""How long audits take: of a large model in an ONNX file with every attack, and of predictions alone."""

import resource
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray

from benchmarks.scenes import generated_pack
from benchmarks.timing import Figure
from trustseg.audit import ModelOptions, audit
from trustseg.data import Pack

IMAGES, SIZE = 32, 128
PREDICTIONS, LARGE = 2113, 224  # the test set of QaTa
BUDGET = 600  # seconds for shifts and attacks
KNOWN = {"output": "logit", "scale": 1, "mean": (0.0,), "deviation": (1.0,)}  # weights are random: nothing to find


def figures() -> Iterator[Figure]:
    """Yield time and memory of an audit of predictions, and the time of one of a model on a budget of ten minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder, pack = Path(name), generated_pack(PREDICTIONS, size=LARGE)
        before = _most_memory()
        since = time.perf_counter()
        audit(_Predictions(pack), pack, folder=folder / "predictions")
        seconds = time.perf_counter() - since
        yield Figure(f"tier 0 of {PREDICTIONS} predictions, {LARGE} px", seconds, unit="s", target=60.0)
        yield Figure("what it takes of memory beyond the images", _most_memory() - before, unit="GB", target=1.0)
        pack = generated_pack(IMAGES, size=SIZE)
        file = _written(folder / "unet.onnx")
        since = time.perf_counter()
        found = audit(file, pack, folder=folder / "unet", budget=BUDGET, options=ModelOptions(conventions=KNOWN))
        minutes = (time.perf_counter() - since) / 60
        plan = found.document.plan
        details: dict[str, float | str] = {
            "images attacked": float(plan.images),
            "attacks": ", ".join(plan.attacks),
            "left out": "; ".join(plan.left_out) or "nothing",
        }
        what = f"tier 2 of a U-Net of 24 million weights in ONNX, {IMAGES} images, {SIZE} px"
        yield Figure(what, minutes, unit="min", target=10.0, details=details)


def _most_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


class _Predictions(Mapping[str, NDArray[np.float32]]):
    """Probability maps that are made when they are asked for: the mask, with noise."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.rows = {name: row for row, name in enumerate(pack.index["name"])}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        row = self.rows[name]
        noise = np.random.default_rng(row).random((LARGE, LARGE), dtype=np.float32)
        found: NDArray[np.float32] = np.clip(0.7 * (self.pack.masks[row, 0] == 1) + 0.4 * noise, 0, 1)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _written(path: Path) -> Path:
    """Write a U-Net on ResNet-34 with random weights as ONNX."""
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
    return path
