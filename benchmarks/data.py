"""Generating images, reading them, and starting the command."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import Figure, seconds_of
from trustseg.data import open_dataset, write_pack, write_phantoms
from trustseg.data.batches import cache_pack, pack_loader
from trustseg.data.decode import read_image, read_mask


class Files(Dataset[tuple[np.ndarray, np.ndarray]]):
    """The usual way: every image and mask is decoded when it is asked for."""

    def __init__(self, source: Path) -> None:
        self.images = sorted((source / "Train Set" / "Images").iterdir())
        self.masks = sorted((source / "Train Set" / "Ground-truths").iterdir())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        mask = read_mask(self.masks[row]).pixels > 127
        return np.asarray(read_image(self.images[row]).pixels, np.uint8), np.asarray(mask, np.uint8)


def figures() -> Iterator[Figure]:
    """Yield the speed of generating, of reading an epoch from a pack, and of the first sign of life."""
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), 2000
        sizes = ["--train", str(count), "--test", "0", "--control", "0", "--size", "128"]
        since = time.perf_counter()  # in a process of its own: workers import again what this one has imported
        command = [sys.executable, "-m", "trustseg", "data", "phantoms", str(folder / "many"), *sizes]
        subprocess.run(command, check=True, capture_output=True)
        rate = count / (time.perf_counter() - since)
        words = f"generated images of 128 px a second, {count} by the command"
        yield Figure(words, rate, unit="1/s", target=200, better="more")
        source = write_phantoms(folder / "phantoms", train=600, test=0, control=0, size=128)
        write_pack(source, folder / "pack", size=128)
        pack, files = open_dataset(folder / "pack"), Files(source)
        rows, held = np.arange(len(pack)), cache_pack(pack, "ram", device=torch.device("cpu"))
        times = seconds_of(
            {
                "pack": lambda: [None for _ in pack_loader(pack, rows, batch_size=16)],
                "ram": lambda: [None for _ in pack_loader(held, rows, batch_size=16)],
                "files": lambda: [files[row] for row in range(len(files))],
                "workers": lambda: [None for _ in DataLoader(files, batch_size=16, num_workers=2)],
            }
        )
    for way, words, target in (
        ("files", "decoding image files", 10.0),
        ("workers", "DataLoader of image files, 2 workers", 5.0),
        ("ram", "pack held in RAM", None),
    ):
        ratio = times[way] / times["pack"]
        yield Figure(f"an epoch read: {words} / pack", ratio, target=target, better="more", details=times)
    for words, target in (("--help", 0.5), ("--version", 0.5)):
        command = ["-c", "from trustseg.cli import main; main()", words]
        yield Figure(f"trustseg {words}", _started(command), unit="s", target=target)
    yield Figure("import trustseg", _started(["-c", "import trustseg"]), unit="s", target=0.2)


def _started(arguments: list[str]) -> float:
    """Return the shortest of five runs of the interpreter with these arguments, its own start included, in seconds."""

    def run() -> object:
        return subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    return seconds_of({"all": run}, repeats=5)["all"]
