"""Facts about a model, from the files next to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from trustseg.calibration import Calibrated, Calibration
from trustseg.config import load_run
from trustseg.data.training_record import splits_file
from trustseg.evaluation import hash_of_model, load_model
from trustseg.files import read_json
from trustseg.metrics import metrics_of
from trustseg.models.spec import SegmenterSpec
from trustseg.records import model_of
from trustseg.reporting import load_results
from trustseg.reporting.labels import CLEAN, describe_condition, describe_metric
from trustseg.reporting.report_data import collect
from trustseg.statistics import Interval

__all__ = ["DICE", "USER", "CardFacts", "Measured", "interval_words", "read_facts", "user"]

USER: Final = "user"
"""Begins every entry that only the user can fill in."""

DICE: Final = "Dice per image"


def user(what: str) -> str:
    """Return the mark of what only the user knows.

    Example:
        >>> user("who developed the model")
        'user: who developed the model'
    """
    return f"{USER}: {what}"


def interval_words(interval: Interval) -> str:
    """Return a value with its interval, and why that may be too narrow, if there is a known reason."""
    return interval.text() + (f" ({interval.warning})" if interval.warning else "")


@dataclass(frozen=True, slots=True)
class Measured:
    """An evaluation of the model on test images.

    Attributes:
        folder: where its records lie: beside the model, or in the cell of a study that the model is of.
        images: how many.
        patients: of how many patients.
        overlap: label -> interval of how well masks agree, on unchanged images.
        trust: label -> interval of calibration and ranking, on unchanged images.
        changed: attack or shift in words -> Dice per image under it, the lowest first.
    """

    folder: Path
    images: int
    patients: int
    overlap: Mapping[str, Interval]
    trust: Mapping[str, Interval]
    changed: Mapping[str, Interval]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def description(self) -> str:
        """Return in words on what was measured."""
        return f"{self.images} test images of {self.patients} patients ({self.name}); 95 % bootstrap over patients"


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the files next to a model tell about it.

    Attributes:
        name: of the run.
        digest: ``hash_of_model``.
        spec: what it is built from.
        parameters: number of weights.
        calibration: None if it is not calibrated.
        settings: of the run, without where its data lie; empty if they are not there.
        provenance: content of ``provenance.json``, empty if it is not there.
        sides: images and patients of training, validation and test; empty if that is not known.
        measured: evaluations of this model, calibrated as it is, on test images.
    """

    name: str
    digest: str
    spec: SegmenterSpec
    parameters: int
    calibration: Calibration | None
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    sides: Mapping[str, tuple[int, int]]
    measured: tuple[Measured, ...]

    @property
    def target(self) -> str | None:
        """What the masks mark; None if the run's settings are not there."""
        return self.setting("data", "target")

    @property
    def channels(self) -> str:
        """The kind of images in a word."""
        return "grey" if self.spec.channels == 1 else "RGB"

    def input_words(self) -> str:
        """Return in words which images the model takes."""
        return f"{self.channels} images of any size, resized to {self.spec.size} x {self.spec.size} pixels"

    def split_words(self) -> str:
        """Return images and patients of each side of the split in words; empty if that is not known."""
        sides = self.sides.items()
        return ", ".join(f"{side} {images} images of {patients} patients" for side, (images, patients) in sides)

    def setting(self, *keys: str) -> str | None:
        """Return a setting of the run as text; None if it is not there."""
        return _text_at(self.settings, keys)

    def provided(self, *keys: str) -> str | None:
        """Return a value of ``provenance.json`` as text; None if it is not there."""
        return _text_at(self.provenance, keys)


def _text_at(value: Any, keys: Sequence[str]) -> str | None:  # noqa: ANN401 - JSON
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None else str(value)


def read_facts(folder: Path, *, draws: int = 2000) -> CardFacts:
    """Return what is known of the model in a folder, which lies in the folder of its run.

    Raises:
        MissingFileError: if there is no model, or its training has not finished.
        ModelError: if it is damaged.
        DataError: if one of these records is damaged.
    """
    model = load_model(folder)
    digest, run = hash_of_model(model), folder.absolute().parent
    config, provenance = run / "config.yaml", run / "provenance.json"
    settings: dict[str, Any] = {}
    if config.is_file():
        settings = load_run(config, []).model_dump(mode="json")
        settings["data"].pop("path", None)
    files = [run / "evaluation.json", *sorted(run.glob("evaluation-test*/evaluation.json"))]
    places = [file.parent for file in files if file.is_file()]
    return CardFacts(
        name=run.name if folder.absolute().name == "model" else folder.absolute().name,
        digest=digest,
        spec=model.spec,
        parameters=sum(value.numel() for module in model.modules() for value in module.parameters(recurse=False)),
        calibration=model.calibration if isinstance(model, Calibrated) else None,
        settings=settings,
        provenance=read_json(provenance) if provenance.is_file() else {},
        sides=_sides(folder),
        measured=tuple(_measured(each, draws) for each in places if _is_of(each, digest)),
    )


def _is_of(place: Path, digest: str) -> bool:
    complete = all((place / name).is_file() for name in ("records.parquet", "config.yaml"))
    return complete and model_of(place / "records.parquet") == digest


def _sides(folder: Path) -> dict[str, tuple[int, int]]:
    file = splits_file(folder)
    match read_json(file) if file.is_file() else {}:
        case {"images": dict(images), "patients": dict(patients)}:
            return {str(side): (int(count), len(patients.get(side, []))) for side, count in images.items()}
    return {}


def _measured(place: Path, draws: int) -> Measured:
    data = collect(load_results(place, draws=draws))
    results, (variant,) = data.results, data.results.variants
    rankings = metrics_of("pixel_ranking", "image_ranking", least="compared") if data.measures else {}
    trusted = [*metrics_of("calibration", least="compared"), *rankings]
    overlaps = metrics_of("image", "pooled", least="summary").items()
    shifts = results.records.filter(pl.col("kind") == "shift")["condition"].unique().to_list()
    conditions = [condition for attack in data.attacks for condition in data.curve(attack)[1:]]
    conditions += [(name, 0.0) for name in shifts]
    dice = {condition: data.score(variant, condition, "dice") for condition in conditions}
    lowest_first = sorted(dice.items(), key=lambda item: (math.isnan(item[1].value), item[1].value, item[0]))
    return Measured(
        folder=place,
        images=results.records["image"].n_unique(),
        patients=results.records["patient"].n_unique(),
        overlap={
            f"{entry.label} per image" if entry.facts.kind == "image" else entry.label: data.score(variant, CLEAN, name)
            for name, entry in overlaps
        },
        trust={describe_metric(metric): data.score(variant, CLEAN, metric) for metric in trusted},
        changed={describe_condition(condition): found for condition, found in lowest_first},
    )
