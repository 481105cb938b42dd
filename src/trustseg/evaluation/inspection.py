"""The checks of gradient masking on a model's test images, kept beside its records."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trustseg.data import Pack
from trustseg.data.module import PackRows, as_images
from trustseg.evaluation.gallery import gallery_rows
from trustseg.evaluation.suspicions import suspicions
from trustseg.files import read_json, write_json
from trustseg.models import BeliefModel
from trustseg.models.inference import fast_forward

__all__ = ["SUSPICIONS", "write_suspicions"]

SUSPICIONS: Final = "suspicions.json"
EPS: Final = 2 / 255  # small enough that an honest model is only half broken, so that attacks can be told apart


def write_suspicions(
    model: BeliefModel,
    pack: Pack,
    rows: NDArray[np.int64],
    folder: Path,
    *,
    count: int,
    seed: int = 0,
    device: str = "cpu",
    square_steps: int = 500,
    report: Callable[[int], None] | None = None,
) -> None:
    """Write ``suspicions.json`` into a folder: what every check of ``CHECKS`` finds on a few infected images.

    Checks that were made of the same model and images before are not repeated.

    Args:
        model: a segmenter, a calibrated one, or a mixture.
        pack: the images.
        rows: candidates; ``count`` of those with infection are taken, evenly spread over lesion size.
        folder: where the file goes.
        count: images, >= 0; 0 writes nothing.
        seed: seed of random starts.
        device: where to compute.
        square_steps: queries of the Square attack.
        report: called after each check with the number done.

    Raises:
        DataError: if none of the images has an infection.
    """
    if count == 0:
        return
    infected = rows[pack.index["foreground"].to_numpy()[rows] > 0]
    chosen = gallery_rows(pack, infected if len(infected) else rows, count)
    images, masks = (part.to(device) for part in as_images(PackRows(pack, chosen).__getitems__(range(len(chosen)))))
    about = {
        "model": hashlib.sha256(model.weights()).hexdigest()[:16],
        "images": pack.index["name"].gather(chosen.tolist()).to_list(),
        "eps": EPS,
        "square_steps": square_steps,
        "seed": seed,
    }
    path = folder / SUSPICIONS
    if path.is_file() and about.items() <= read_json(path).items():
        return
    with fast_forward(model.eval().to(device)) as fast:
        found = suspicions(fast, images, masks, eps=EPS, seed=seed, square_steps=square_steps, report=report)
    checks = [
        asdict(suspicion) | {"figure": None if math.isnan(suspicion.figure) else suspicion.figure}
        for suspicion in found
    ]
    write_json(path, {**about, "checks": checks})
