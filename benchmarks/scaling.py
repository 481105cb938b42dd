"""What the evaluation of an image costs as the set grows."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.scenes import DEVICE, ON_GPU, generated_pack, usual_segmenter
from benchmarks.timing import Figure
from trustseg.config import load_run
from trustseg.evaluation import evaluate

COUNTS = (500, 2000, 8000)
# On a CPU small images, one measure and no attack: what could grow is the bookkeeping, not the network.
SIZE = 224 if ON_GPU else 32
SETTINGS = (
    ["evaluation.attacks=[{name: fgsm, eps: [4/255]}]"]
    if ON_GPU
    else ["evaluation.attacks=[]", "evaluation.measures=[entropy]", "evaluation.aggregations=[mean]"]
)


def figures() -> Iterator[Figure]:
    """Yield what an image costs that is added to a large set, in units of one added to a small set."""
    pack = generated_pack(max(COUNTS), size=SIZE)
    segmenter = usual_segmenter(SIZE, depth=5 if ON_GPU else 3)
    config = load_run(None, [*SETTINGS, "evaluation.batch_size=64"]).evaluation
    times: dict[int, float] = {}
    for count in (COUNTS[0], *COUNTS):  # the first one twice: kernels are chosen at the first call
        with tempfile.TemporaryDirectory() as folder:
            since = time.perf_counter()
            evaluate(segmenter, pack, np.arange(count), config, Path(folder), device=DEVICE.type)
            times[count] = time.perf_counter() - since
    few, more, most = COUNTS
    early, late = (times[more] - times[few]) / (more - few), (times[most] - times[more]) / (most - more)
    details = {f"seconds_of_{count}": seconds for count, seconds in times.items()}
    name = f"evaluation, {SIZE} px: an image from {more} to {most} / one from {few} to {more}"
    yield Figure(name, late / early, target=1.10, details=details)
