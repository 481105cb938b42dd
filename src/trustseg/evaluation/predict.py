"""Predictions for images without a reference: masks, uncertainty maps and a score that says which to look at first."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from trustseg.beliefs import check_belief
from trustseg.data import find_cases
from trustseg.data.decode import in_threads, read_image
from trustseg.data.findings import first_of
from trustseg.data.intensity import ImageScan, IntensityScale, decide_scale, render, scan_image
from trustseg.data.pack_notes import decoding_notes, image_notes
from trustseg.data.reading import PackOptions
from trustseg.data.resizing import Fit, image_area, resize_image
from trustseg.deferral import CertifiedPolicy, FalseNegativeControl, Policy, check_model
from trustseg.deferral.any_policy import content_of
from trustseg.deferral.certified_policy import check_certified
from trustseg.errors import ConfigError, DataError, MissingFileError
from trustseg.evaluation.beliefs import uncertainty_of
from trustseg.evaluation.frames import image_scores, to_native
from trustseg.evaluation.loading import hash_of_model
from trustseg.evaluation.noisy import Draw, draw_of, noisy
from trustseg.files import replacing
from trustseg.models import BeliefModel
from trustseg.prediction_folder import (
    ABOUT,
    TABLE,
    PredictedImage,
    PredictionAbout,
    mask_file,
    uncertainty_file,
    write_about,
)
from trustseg.tables import read_csv, write_csv
from trustseg.text import unicode_text
from trustseg.uncertainty import MEASURES

__all__ = ["image_files_of", "predict"]


def image_files_of(path: Path, *, note: Callable[[str], None] | None = None) -> list[Path]:
    """Return the image file ``path``, those directly inside the folder ``path``, or those of the dataset in it.

    Args:
        path: an image, a folder of images, a manifest, or a dataset in one of the layouts of
            ``trustseg.data.LAYOUTS``, whose masks are passed over.
        note: called with a sentence that counts and names the image files below ``path`` that are passed over, if any.

    Returns:
        The files sorted by folder and name; of a dataset in the order of its splits, those without a mask last.

    Raises:
        MissingFileError: if there is no such file or folder.
        DataError: if the folder holds no image, or two images of one stem.
    """
    if path.is_file() and path.suffix.lower() != ".csv":
        return [path]
    if not path.exists():
        raise MissingFileError(f"no image or folder '{path}'; check the path")
    listing = find_cases(path)
    found = [*(case.image for case in listing.cases), *listing.lone_images]
    files = [file for file in found if file.parent == path] or found
    if not files:
        raise DataError(f"no image in '{path}', only masks; give the folder of the images")
    stem, count = max(Counter(file.stem for file in files).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        first, second = [file for file in files if file.stem == stem][:2]
        raise DataError(
            f"'{first}' and '{second}' have the same name, and predictions are named after their image; "
            f"give '{first.parent}' and then the others, each with an --output of its own"
        )
    masks = [mask for case in listing.cases for mask in case.masks]
    others = {*found, *masks, *listing.lone_masks, *listing.passed_over}.difference(files)
    if others and note is not None:
        names = first_of(listing.below(sorted(others)))
        note(f"files not predicted (masks, or in other folders): {len(others):,} ({names})")
    return files


def predict(
    model: BeliefModel,
    files: Sequence[Path],
    folder: Path,
    *,
    measure: str = "entropy",
    aggregation: str = "soft_dice_confidence",
    policy: Policy | CertifiedPolicy | None = None,
    control: FalseNegativeControl | None = None,
    draws: Mapping[str, Draw] | None = None,
    scale: IntensityScale | None = None,
    fit: Fit = "squash",
    device: str = "cpu",
    report: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Write masks, uncertainty maps and ``predictions.csv`` into ``folder``.

    Each image is resized to the side the model was trained on; its maps are resized back to the image's own size.
    Nothing is written, and nothing replaced, unless every file can be read and the first one predicted.

    Args:
        model: a segmenter, a calibrated one, or a mixture.
        files: image files.
        folder: ``masks/NAME.png`` (0 or 255), ``uncertainty/NAME.png`` (8 bit, 255 = the measure's upper bound; of
            differential entropy its exponential is drawn), ``predictions.csv``, the least sure image first, and
            ``prediction.json``, what made them and where the images lie; former predictions in it are replaced.
        measure: pixel measure of uncertainty.
        aggregation: map to image score.
        policy: a frozen policy; its measure and aggregation are taken, and ``review`` (yes or no) says which images a
            human should look at. One that is certified decides on one noisy draw of each image, and mask and map are
            of that draw, the mask as the model gives it, resized by nearest neighbour; ``predictions.csv`` records it.
        control: threshold at which masks are drawn: of the model's own maps, which the control was fitted on, so that
            masks are resized back by nearest neighbour. Without one, masks are where the resized p is above 0.5.
        draws: noise of an earlier prediction, by the name of the image's file, which a certified policy then repeats;
            None draws it anew from the system's entropy.
        scale: intensity scale of the data that the model was trained on; None decides from these files.
        fit: how images are fitted into the model's square, as in its training; padding is cut off again.
        device: where to compute.
        report: called after each image with the number done.
        note: called before the first with each sentence on how the images are read.

    Returns:
        The CSV file.

    Raises:
        BeliefError: if the model cannot give the measure.
        DataError: if an image cannot be read, or there is none, or policy or control were fitted on another
            model's scores, or draws are not of these images.
        ConfigError: if a control or nothing is to be certified, or draws are repeated without a certified policy.
    """
    if not files:
        raise DataError("no image to predict; choose another folder")
    table, hash_of_this = folder / TABLE, hash_of_model(model)
    _check_policy(policy, control, draws, model, hash_of_this)
    if policy is not None:
        measure, aggregation = policy.measure, policy.aggregation
    scale = _scale_of(files, model, scale, fit, note)
    settings = _Settings(measure, aggregation, policy, control, draws, scale, fit, device)
    model = model.eval().to(device)
    rows: list[dict[str, str]] = []
    images: list[PredictedImage] = []
    for file in files:
        found = _predict_one(model, file, settings)
        if not rows:
            _remove(table)  # not before the model has shown that it can do what is asked
        _write_png(found.mask, mask_file(folder, file))
        _write_png(found.shown, uncertainty_file(folder, file))
        rows.append(found.row)
        images.append(PredictedImage(image=found.row["image"], file=str(file.absolute()), sha256=found.sha256))
        if report is not None:
            report(len(rows))
    rows.sort(key=lambda row: -float(row["uncertainty"]))
    write_about(_about(hash_of_this, settings, images), folder)
    write_csv(pl.DataFrame(rows), table)
    return table


def _check_policy(
    policy: Policy | CertifiedPolicy | None,
    control: FalseNegativeControl | None,
    draws: Mapping[str, Draw] | None,
    model: BeliefModel,
    hash_of_this: str,
) -> None:
    """Raise unless policy, control and draws fit the model and each other."""
    certified = isinstance(policy, CertifiedPolicy)
    if certified and control is not None:
        raise ConfigError("a certified policy predicts from noisy images, and a control was fitted on images without")
    if draws is not None and not certified:
        raise ConfigError("noise can only be repeated for a certified policy; give it, or leave --noise-seeds out")
    if isinstance(policy, CertifiedPolicy):
        check_certified(policy, model=hash_of_this, size=model.spec.size, channels=model.spec.channels)
    elif policy is not None:
        check_model(policy, hash_of_this)
    if control is not None:
        check_model(control, hash_of_this)


class _Settings(NamedTuple):
    """How every image is read and predicted; see ``predict``."""

    measure: str
    aggregation: str
    policy: Policy | CertifiedPolicy | None
    control: FalseNegativeControl | None
    draws: Mapping[str, Draw] | None
    scale: IntensityScale
    fit: Fit
    device: str


def _about(model: str, settings: _Settings, images: list[PredictedImage]) -> PredictionAbout:
    """Return what made the predictions of some images."""
    return PredictionAbout(
        model=model,
        measure=settings.measure,
        aggregation=settings.aggregation,
        white=settings.scale.white,
        policy=None if settings.policy is None else content_of(settings.policy),
        control=None if settings.control is None else {**asdict(settings.control)},
        images=images,
    )


def _scale_of(
    files: Sequence[Path],
    model: BeliefModel,
    scale: IntensityScale | None,
    fit: Fit,
    note: Callable[[str], None] | None,
) -> IntensityScale:
    """Return the scale of intensity for all files, after reading each of them once, and note how they are read.

    Raises:
        DataError: if a file cannot be read, or is deeper than the images of the model's training were.
    """
    scans = in_threads(_scan, files, progress=None)
    images, sizes = [image for image, _ in scans], [size for _, size in scans]
    scale = decide_scale(images) if scale is None else scale
    if scale.white is None and (deep := [image.path for image in images if image.level is not None]):
        raise DataError(
            f"{deep[0]} has 16 bits per channel, and no intensity scale for such images is kept with the model; export "
            "it with 8 bits, as the model was trained on"
        )
    if note is not None:
        options = PackOptions(model.spec.size, 1 if model.spec.channels == 1 else 3, fit)
        for sentence in (*decoding_notes(images, "image"), *image_notes(images, sizes, scale, options)):
            note(sentence)
    return scale


def _remove(table: Path) -> None:
    """Remove former predictions: the table and the maps that it names, nothing else."""
    if not table.is_file():
        return
    try:
        stems = {Path(name).stem for name in read_csv(table, as_text=True)["image"].drop_nulls()}
    except pl.exceptions.PolarsError as error:
        raise DataError(f"'{table}' is not a table of predictions ({error}); move it away or delete it") from error
    table.unlink()
    (table.parent / ABOUT).unlink(missing_ok=True)
    for kind in ("masks", "uncertainty"):
        for file in (table.parent / kind).glob("*.png"):
            if unicode_text(file.stem) in stems:
                file.unlink()


def _scan(file: Path) -> tuple[ImageScan, tuple[int, int]]:
    """Return what the intensity scale depends on, and (width, height); raises if a file cannot be read as an image."""
    picture = read_image(file)
    return scan_image(picture, file), picture.size


class _Prediction(NamedTuple):
    """What is said of an image: its mask, the uncertainty map to draw (both H, W, in [0, 1]), its row, its file."""

    mask: Tensor
    shown: Tensor
    row: dict[str, str]
    sha256: str


def _predict_one(model: BeliefModel, file: Path, settings: _Settings) -> _Prediction:
    measure, aggregation, policy, control, draws, scale, fit, device = settings
    spec = model.spec
    picture = read_image(file)
    pixels = resize_image(render(picture, scale, channels=spec.channels, path=file), spec.size, fit)
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    images = torch.from_numpy(np.array(planes, order="C"))[None].to(device).float() / 255
    promise: dict[str, str] = {}
    if isinstance(policy, CertifiedPolicy):
        draw = draw_of(unicode_text(file.name), images, draws)
        images = noisy(images, noise=policy.noise, seed=draw.seed)
        promise = _promise_of(policy, draw)
    with torch.no_grad():
        belief = model.belief(images)
    check_belief(belief)
    uncertainty = uncertainty_of(belief, measure, head=spec.head)
    width, height = picture.size
    area, native = image_area(width, height, size=spec.size, fit=fit), (height, width)
    score = float(image_scores(aggregation, uncertainty, belief.probability, [area]))
    probability = to_native(belief.probability, native, area)
    shown = to_native(uncertainty.exp() if measure == "differential_entropy" else uncertainty, native, area)
    small = belief.probability[(..., *area.slices)]
    if isinstance(policy, CertifiedPolicy):
        mask = _nearest(belief.log_odds[(..., *area.slices)] > 0, height, width)
    else:
        mask = probability > 0.5 if control is None else _nearest(small >= control.threshold, height, width)
    row = {
        "image": unicode_text(file.name),
        "uncertainty": f"{score:.6g}",
        **({} if policy is None else {"review": "yes" if policy.review(score) else "no"}),
        **promise,
        "measure": measure,
        "aggregation": aggregation,
        "predicted_fraction": f"{float(mask.float().mean()):.6f}",
        "largest_probability": f"{float(probability.max()):.6f}",
        "width": str(width),
        "height": str(height),
    }
    shown = (shown / (MEASURES[measure].facts.upper_bound or 1.0)).clamp(0, 1)
    return _Prediction(mask, shown, row, picture.sha256)


def _promise_of(policy: CertifiedPolicy, draw: Draw) -> dict[str, str]:
    """Return the columns that say by which draw an image was decided, and what that certifies."""
    return {
        "noise": f"{policy.noise:g}",
        "noise_seed": str(draw.seed),
        "pixels": draw.pixels,
        "certified_at_most": f"{policy.at_most:g}",
        "certified_radius": f"{policy.radius:g}",
    }


def _nearest(masks: Tensor, height: int, width: int) -> Tensor:
    """Return the mask at another size; each pixel is what lies under its centre."""
    return interpolate(masks.float(), size=(height, width), mode="nearest-exact")[0, 0].cpu() > 0.5


def _write_png(values: Tensor, path: Path) -> None:
    with replacing(path) as temporary:
        Image.fromarray((values.float() * 255).round().byte().numpy()).save(temporary, format="PNG")
