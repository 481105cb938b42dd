"""Predictions for images without a reference: masks, uncertainty maps and a score that says which to look at first."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl
from PIL import Image
from torch import Tensor

from trustseg.data import find_cases
from trustseg.data.groups import case_of
from trustseg.data.intensity import IntensityScale
from trustseg.data.layouts import uniquely_named
from trustseg.data.pack import PackOptions
from trustseg.data.resizing import Fit
from trustseg.deferral import AreaInterval, CertifiedPolicy, FalseNegativeControl, Policy
from trustseg.deferral.policy_files import content_of
from trustseg.dicom_output import SegmentMeaning
from trustseg.errors import DataError, MissingFileError
from trustseg.evaluation.applied_policy import check_policy, guarantee_of
from trustseg.evaluation.loading import hash_of_model
from trustseg.evaluation.noisy import Draw
from trustseg.evaluation.one_image import ImagePrediction, ImageSettings, predict_image
from trustseg.evaluation.predicted_dicom import remove_objects, write_prediction
from trustseg.evaluation.scanning import scale_of
from trustseg.files import replacing
from trustseg.models import BeliefModel
from trustseg.prediction_folder import (
    ABOUT,
    TABLE,
    PredictedImage,
    PredictionAbout,
    mask_file,
    path_from,
    uncertainty_file,
    write_about,
)
from trustseg.tables import read_csv, write_csv
from trustseg.text import first_of, unicode_text

__all__ = ["image_files_of", "predict", "write_predictions"]


def image_files_of(path: Path, *, note: Callable[[str], None] | None = None) -> dict[Path, str]:
    """Return the image file ``path``, those directly inside the folder ``path``, or those of the dataset in it.

    Each comes with the name of its prediction: that of the file, or of the case where files share it. They are sorted
    by folder and name; of a dataset in the order of its splits, those without a mask last.

    Args:
        path: an image, a folder of images, a manifest, or a dataset in one of the layouts of
            ``trustseg.data.LAYOUTS``, whose masks are passed over.
        note: called with a sentence that counts and names the image files below ``path`` that are passed over, if any.

    Raises:
        MissingFileError: if there is no such file or folder.
        DataError: if the folder holds no image, or two predictions would differ by ending or case only.
    """
    if path.is_file() and path.suffix.lower() != ".csv":
        return {path: path.name}
    if not path.exists():
        raise MissingFileError(f"no image or folder '{path}'; check the path")
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"'{path}' is empty; give a folder of images")
    listing = find_cases(path)
    all_cases = [*listing.cases, *(case_of(image, "unlabelled") for image in listing.unpaired_images)]
    cases = uniquely_named([case for case in all_cases if case.image.parent == path] or all_cases, listing.root)
    if not cases:
        raise DataError(f"no image in '{path}', only masks; give the folder of the images")
    stems = Counter(case.image.stem for case in cases)
    names = {
        case.image: case.image.name if stems[case.image.stem] == 1 else f"{case.name}{case.image.suffix}"
        for case in cases
    }
    outputs = {file: Path(name).stem.casefold() for file, name in names.items()}
    (stem, count), *_ = Counter(outputs.values()).most_common(1)
    if count > 1:
        first, second = [file for file, output in outputs.items() if output == stem][:2]
        raise DataError(f"'{first}' and '{second}' have the same name but for ending or case; rename or delete one")
    masks = [mask for case in listing.cases for mask in case.masks]
    images = [case.image for case in all_cases]
    unused = {*images, *masks, *listing.unpaired_masks, *listing.passed_over}.difference(names)
    if unused and note is not None:
        examples = first_of(listing.below(sorted(unused)))
        note(f"files not predicted (masks, or in other folders): {len(unused):,} ({examples})")
    return names


def predict(
    model: BeliefModel,
    files: Sequence[Path] | Mapping[Path, str],
    folder: Path,
    *,
    measure: str = "entropy",
    aggregation: str = "soft_dice_confidence",
    policy: Policy | CertifiedPolicy | None = None,
    control: FalseNegativeControl | None = None,
    area: AreaInterval | None = None,
    draws: Mapping[str, Draw] | None = None,
    scale: IntensityScale | None = None,
    fit: Fit = "squash",
    device: str = "cpu",
    dicom: SegmentMeaning | None = None,
    arrived: Sequence[float] | None = None,
    report: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Write masks, uncertainty maps and ``predictions.csv`` into ``folder``; return the CSV file.

    Each image is resized to the side the model was trained on; its maps are resized back to the image's own size.
    Nothing is written, and nothing replaced, unless every file can be read and the first one predicted.

    Args:
        files: image files, by themselves or with the NAME.END of each prediction, as ``image_files_of`` gives them.
        folder: ``masks/NAME.png`` (0 or 255), ``uncertainty/NAME.png`` (8 bit, 255 = the measure's upper bound; of
            differential entropy its exponential is drawn), ``predictions.csv``, the least sure image first, and
            ``prediction.json``, what made them and where the images lie from there; former predictions are replaced.
        policy: a frozen policy; its measure and aggregation are taken, ``review`` (yes or no) says which images a human
            should look at, and ``guarantee`` whether they differ from those it was fitted on, which voids its promise.
            One that is certified decides on one noisy draw of each image, and mask and map are of that draw, the mask
            as the model gives it, resized by nearest neighbour; ``predictions.csv`` records it.
        control: threshold at which masks are drawn: of the model's own maps, which the control was fitted on, so that
            masks are resized back by nearest neighbour. Without one, masks are where the resized p is above 0.5.
        area: interval that ``fraction_low`` and ``fraction_high`` of the table are taken from, of the model's own maps.
        draws: noise of an earlier prediction, by the name of the image's file, which a certified policy then repeats;
            None draws it anew from the system's entropy.
        scale: intensity scale of the data that the model was trained on; None decides from these files.
        fit: how images are fitted into the model's square, as in its training; padding is cut off again.
        dicom: what the masks mean, to write them, the maps and a report of each DICOM image as DICOM objects into
            ``dicom/NAME.KIND.dcm`` as well (``trustseg.dicom_output``); None writes no DICOM.
        arrived: scores of the images before these, in order of arrival, where images are predicted as they arrive.
        note: called before the first with each sentence on how the images are read, and after the last with how their
            scores compare with those that the policy was fitted on.

    Raises:
        DataError: if an image cannot be read, or there is none, or policy or control were fitted on another
            model's scores, or draws are not of these images, or a DICOM image lacks an identifier that DICOM objects
            have to refer to.
        ConfigError: if a control or nothing is to be certified, or draws are repeated without a certified policy.
        MissingPackageError: if DICOM is to be written and highdicom is not installed.
    """
    hash_of_this = hash_of_model(model)
    check_policy(policy, control, area, draws, model, hash_of_this)
    if policy is not None:
        measure, aggregation = policy.measure, policy.aggregation
    options = PackOptions(model.spec.size, 1 if model.spec.channels == 1 else 3, fit)
    scale = scale_of(list(files), options, scale, note, dicom=dicom is not None)
    settings = ImageSettings(measure, aggregation, policy, control, area, draws, scale, fit, device)
    ready = model.eval().to(device)
    return write_predictions(
        lambda file, name: predict_image(ready, file, name, settings),
        files,
        folder,
        settings,
        model=hash_of_this,
        dicom=dicom,
        arrived=arrived,
        report=report,
        note=note,
    )


def write_predictions(
    predict_one: Callable[[Path, str], ImagePrediction],
    files: Sequence[Path] | Mapping[Path, str],
    folder: Path,
    settings: ImageSettings,
    *,
    model: str,
    dicom: SegmentMeaning | None,
    arrived: Sequence[float] | None,
    report: Callable[[int], None] | None,
    note: Callable[[str], None] | None,
) -> Path:
    """Write what ``predict_one`` gives of each file and its name into a folder and return the table; see ``predict``.

    Args:
        settings: how the files are predicted.
        model: hash of the model.
    """
    table = folder / TABLE
    rows: list[dict[str, str]] = []
    scores: list[float] = []
    images: list[PredictedImage] = []
    named = files if isinstance(files, Mapping) else {file: file.name for file in files}
    for file, name in named.items():
        prediction = predict_one(file, unicode_text(name))
        if not rows:
            _remove(table)  # not before the model has shown that it can do what is asked
        _write_png(prediction.mask, mask_file(folder, Path(name)))
        _write_png(prediction.shown, uncertainty_file(folder, Path(name)))
        if dicom is not None and prediction.picture.kind == "DICOM":
            write_prediction(prediction, file, Path(name).stem, folder, settings, model=model, meaning=dicom)
        rows.append(prediction.row)
        scores.append(prediction.score)
        images.append(
            PredictedImage(
                image=prediction.row["image"], file=path_from(folder, file), sha256=prediction.picture.sha256
            )
        )
        if report is not None:
            report(len(rows))
    if settings.policy is not None:
        guarantee = guarantee_of(settings.policy, scores, note, arrived=arrived)
        rows = [{**row, "guarantee": guarantee} for row in rows]
    rows.sort(key=lambda row: -float(row["uncertainty"]))
    write_about(_about(model, settings, images), folder)
    write_csv(pl.DataFrame(rows), table)
    return table


def _about(model: str, settings: ImageSettings, images: list[PredictedImage]) -> PredictionAbout:
    return PredictionAbout(
        model=model,
        measure=settings.measure,
        aggregation=settings.aggregation,
        white=settings.scale.white,
        policy=None if settings.policy is None else content_of(settings.policy),
        control=None if settings.control is None else {**asdict(settings.control)},
        area=None if settings.area is None else {**asdict(settings.area)},
        images=images,
    )


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
    remove_objects(table.parent, stems)


def _write_png(values: Tensor, path: Path) -> None:
    with replacing(path) as temporary:
        Image.fromarray((values.float() * 255).round().byte().numpy()).save(temporary, format="PNG")
