"""A folder of predictions without a model: generated images, masks and scores; and people who review it."""

import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from trustseg.deferral import fit_policy
from trustseg.deferral.policy_files import content_of
from trustseg.prediction_folder import (
    PredictedImage,
    PredictionAbout,
    mask_file,
    path_from,
    uncertainty_file,
    write_about,
)
from trustseg.review.actions import Review, Verdict
from trustseg.review.cases import open_cases
from trustseg.review.state import Reader, Settings
from trustseg.review.verify import open_store
from trustseg.tables import write_csv

if TYPE_CHECKING:
    from pydicom import Dataset

MODEL = "0123456789abcdef"
ANN, BEN, CLEO = Reader("ann", "reader"), Reader("ben", "reader"), Reader("cleo", "adjudicator")
KEYS = (f"key-{number}" for number in count())


def write_predictions(
    folder: Path,
    *,
    count: int = 6,
    size: tuple[int, int] = (20, 16),
    policy: bool = True,
    prefix: str = "image",
    guarantee: str = "no difference found",
    at_most: float = 0.5,
    deep: bool = False,
) -> Path:
    """Write what ``trustseg predict`` writes, of ``count`` images of ``size`` (width, height); return the folder.

    The score falls from the first image to the last; with a policy, the less sure half is flagged, or none if its
    ``at_most`` is too low for 30 patients. The mask is a rectangle, of the last image empty. ``deep`` images have
    16 bits, of which 14 are used.
    """
    width, height = size
    fitted = fit_policy(records(), measure="entropy", aggregation="soft_dice_confidence", at_most=at_most, model=MODEL)
    flagged = 0.5 if np.isfinite(fitted.threshold) else np.inf
    rng = np.random.default_rng(0)
    rows, images = [], []
    for number in range(count):
        file = folder / "images" / f"{prefix}{number}.png"
        grey = rng.integers(0, 256, (height, width), dtype=np.uint8)
        mask = np.zeros((height, width), np.uint8)
        if number + 1 < count:
            mask[height // 4 : height // 2, width // 4 : width // 4 + 3 + number % 5] = 255
        image = grey.astype(np.uint16) * 64 if deep else grey
        for path, pixels in ((file, image), (mask_file(folder, file), mask), (uncertainty_file(folder, file), grey)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        images.append(PredictedImage(image=file.name, file=path_from(folder, file), sha256=digest))
        score = 1 - (number + 1) / (count + 1)
        rows.append(
            {
                "image": file.name,
                "uncertainty": f"{score:.6g}",
                **({"review": "yes" if score > flagged else "no"} if policy else {}),
                "measure": "entropy",
                "aggregation": "soft_dice_confidence",
                "predicted_fraction": f"{(mask > 0).mean():.6f}",
                "largest_probability": "0.900000" if mask.any() else "0.300000",
                "width": str(width),
                "height": str(height),
                **({"guarantee": guarantee} if policy else {}),
            }
        )
    about = PredictionAbout(
        model=MODEL,
        measure="entropy",
        aggregation="soft_dice_confidence",
        white=16383 if deep else None,
        policy=content_of(fitted) if policy else None,
        control=None,
        images=images,
    )
    write_about(about, folder)
    write_csv(pl.DataFrame(rows), folder / "predictions.csv")
    return folder


def make_dicom(folder: Path, number: int, **elements: object) -> "Dataset":
    """Turn an image of a folder of predictions into a DICOM film of the same pixels; return it."""
    from tests.dicom_output.films import film, save

    before = folder / "images" / f"image{number}.png"
    with Image.open(before) as image:
        pixels = np.asarray(image)
    bits = 8 * pixels.dtype.itemsize
    depth = {"BitsAllocated": bits, "BitsStored": min(bits, 14), "HighBit": min(bits, 14) - 1}
    dataset = film(size=pixels.shape, seed=number, **depth, PixelData=pixels.tobytes(), **elements)  # type: ignore[arg-type]  # two numbers
    after = save(dataset, before.with_suffix(".dcm"))
    old, new = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (before, after))
    before.unlink()
    for file in (folder / "prediction.json", folder / "predictions.csv"):
        file.write_text(file.read_text().replace(before.name, after.name).replace(old, new))
    return dataset


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


def write_gallery(run: Path, images: Mapping[str, NDArray[np.uint8]]) -> Path:
    """Add pictures under attack to the evaluation of a run: inverted images, and a mask of their upper half."""
    pictures = np.stack(list(images.values()))
    probability = np.zeros(pictures.shape, np.float16)
    probability[:, : pictures.shape[1] // 2] = 1
    file = run / "evaluation-test" / "gallery.npz"
    np.savez(
        file,
        name=np.array(list(images)),
        condition=np.array("pgd20"),
        eps=np.array(8 / 255),
        image=pictures,
        adversarial=((255 - pictures) / 255).astype(np.float16),
        adversarial_probability=probability,
    )
    return file


def png(pixels: ArrayLike) -> bytes:
    """Return an array as PNG."""
    stream = BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def rectangle(columns: int) -> bytes:
    """Return a drawn mask of four rows, which may be narrow, of an image of the usual size."""
    pixels = np.zeros((16, 20), np.uint8)
    pixels[4:8, :columns] = 255
    return png(pixels)


def review_of(folder: Path, **settings: Any) -> Review:  # noqa: ANN401 - of Settings
    """Return a review of a folder of predictions, begun or gone on with."""
    return Review(open_cases(folder), open_store(folder), Settings(**settings))


def decide(review: Review, case: int, reader: Reader, decision: str, mask: bytes | None = None, **more: Any) -> None:  # noqa: ANN401 - of Verdict
    """Rate a case as 4, where it has to be, and decide on it."""
    if (case, reader.name) not in review.state().ratings and review.state().settings.blind:
        review.rate(case, reader, key=next(KEYS), rating=4, seconds=more.get("seconds", 1.0))
    review.decide(case, reader, Verdict(decision, mask=mask, **more), key=next(KEYS))  # type: ignore[arg-type]  # as given
