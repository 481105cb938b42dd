"""A folder of predictions without a model: generated images, masks and scores."""

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from PIL import Image

from trustseg.deferral import fit_policy
from trustseg.deferral.policy import policy_content
from trustseg.prediction_folder import PredictedImage, PredictionAbout, mask_file, uncertainty_file, write_about
from trustseg.tables import write_csv

MODEL = "0123456789abcdef"


def write_predictions(
    folder: Path,
    *,
    count: int = 6,
    size: tuple[int, int] = (20, 16),
    policy: bool = True,
    prefix: str = "image",
    guarantee: str = "no difference found",
) -> Path:
    """Write what ``trustseg predict`` writes, of ``count`` images of ``size`` (width, height); return the folder.

    The score falls from the first image to the last; with a policy, the less sure half is flagged. The mask is a
    rectangle, of the last image empty.
    """
    width, height = size
    rng = np.random.default_rng(0)
    rows, images = [], []
    for number in range(count):
        file = folder / "images" / f"{prefix}{number}.png"
        grey = rng.integers(0, 256, (height, width), dtype=np.uint8)
        mask = np.zeros((height, width), np.uint8)
        if number + 1 < count:
            mask[height // 4 : height // 2, width // 4 : width // 4 + 3 + number % 5] = 255
        for path, pixels in ((file, grey), (mask_file(folder, file), mask), (uncertainty_file(folder, file), grey)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        images.append(
            PredictedImage(image=file.name, file=str(file), sha256=hashlib.sha256(file.read_bytes()).hexdigest())
        )
        score = 1 - (number + 1) / (count + 1)
        rows.append(
            {
                "image": file.name,
                "uncertainty": f"{score:.6g}",
                **({"review": "yes" if score > 0.5 else "no"} if policy else {}),
                "measure": "entropy",
                "aggregation": "soft_dice_confidence",
                "predicted_fraction": f"{(mask > 0).mean():.6f}",
                "largest_probability": "0.900000" if mask.any() else "0.300000",
                "width": str(width),
                "height": str(height),
                **({"guarantee": guarantee} if policy else {}),
            }
        )
    fitted = fit_policy(records(), measure="entropy", aggregation="soft_dice_confidence", at_most=0.5, model=MODEL)
    about = PredictionAbout(
        model=MODEL,
        measure="entropy",
        aggregation="soft_dice_confidence",
        white=None,
        policy=policy_content(fitted) if policy else None,
        control=None,
        images=images,
    )
    write_about(about, folder)
    write_csv(pl.DataFrame(rows), folder / "predictions.csv")
    return folder


def records(count: int = 60) -> pl.DataFrame:
    """Return records of validation images whose Dice falls where their score rises; patients have two images each."""
    scores = np.linspace(0.01, 0.99, count)
    both = (40 * (1 - scores)).astype(int)
    return pl.DataFrame(
        {
            "image": [f"v{number}.png" for number in range(count)],
            "patient": [f"p{number // 2}" for number in range(count)],
            "condition": "clean",
            "eps": 0.0,
            "kind": "clean",
            "severity": 0,
            "pixels": 320,
            "mask_px": 40,
            "predicted_px": 40,
            "intersection_px": both,
            "dice": both / 40,
            "iou": both / (80 - both),
            "u_entropy_soft_dice_confidence": scores,
            "split": "validation",
        }
    )


def write_run(folder: Path, *, model: str = MODEL) -> Path:
    """Write the validation records of a run and what says whose they are; return the folder of the run."""
    home = folder / "evaluation-test"
    home.mkdir(parents=True)
    records().write_parquet(home / "validation.parquet")
    (home / "evaluation.json").write_text(json.dumps({"model": model}))
    return folder


def png(pixels: ArrayLike, tmp_path: Path) -> bytes:
    """Return an array as PNG."""
    path = tmp_path / "drawn.png"
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path.read_bytes()
