"""What the commands of deferral share: scores, images and records that they read, and where guarantees end."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trustseg.errors import DataError, MissingFileError

if TYPE_CHECKING:
    import polars as pl

    from trustseg.config import RunConfig
    from trustseg.data import Pack
    from trustseg.data.splits import Indices
    from trustseg.deferral import CertifiedPolicy, Policy
    from trustseg.models.spec import SegmenterSpec

__all__ = [
    "ONLY_CLEAN",
    "Sides",
    "calibration_records",
    "home_of_records",
    "limits_of",
    "score_of",
    "sides_of",
    "tested_records",
]

ONLY_CLEAN = (
    "The guarantee holds for clean images of new patients like those of the calibration split. "
    "It is void under attack or shift, and for other populations."
)


def limits_of(policy: "Policy | CertifiedPolicy") -> str:
    """Return where the guarantee of a policy holds, or that there is none as it could not be fitted."""
    from trustseg.deferral import CertifiedPolicy

    if not policy.fitted:
        return (
            "NO GUARANTEE: this policy could not be fitted and sends no image to a human, however unsure the model is. "
            "Fit it on more patients, or with a larger --at-most."
        )
    if isinstance(policy, CertifiedPolicy):
        return (
            "The guarantee holds for new patients like those of the calibration split. It is void for other "
            "populations, under shifts and larger changes, and if an image is handed in again until it is kept."
        )
    return ONLY_CLEAN


def score_of(
    measure: str | None, aggregation: str | None, policy: "Policy | CertifiedPolicy | None" = None
) -> tuple[str, str]:
    """Return measure and aggregation of an image score: those of a policy if there is one, else the usual if None."""
    from trustseg.config.names import check_counted, check_ranks
    from trustseg.errors import unknown_name
    from trustseg.former_names import current_aggregation
    from trustseg.uncertainty import MEASURES

    if policy is not None:
        measure, aggregation = policy.measure, policy.aggregation
    measure, aggregation = measure or "entropy", current_aggregation(aggregation or "soft_dice_confidence")
    if measure not in MEASURES:
        raise unknown_name("measure", measure, MEASURES)
    check_ranks("--aggregation", aggregation)
    check_counted("--aggregation", [aggregation], [measure])
    return measure, aggregation


class Sides(NamedTuple):
    """The images on which a promise is fitted and those on which it is tried, with the settings they were read by."""

    config: "RunConfig"
    pack: "Pack"
    validation: "Indices"
    test: "Indices"


def sides_of(model: Path, spec: "SegmenterSpec", settings: list[str] | None) -> Sides:
    """Return the images that a model was validated on, and its test images."""
    from trustseg.cli.images import images_of
    from trustseg.cli.options import settings_of
    from trustseg.data.training_record import require_no_leakage, require_training_record, validation_rows
    from trustseg.evaluation import rows_of_split

    config = settings_of(model, spec, settings)
    seen = require_training_record(model)
    pack = images_of(config.data, model=model)
    sides = Sides(config, pack, validation_rows(seen, pack), rows_of_split(pack, "test", config.data))
    require_no_leakage(seen, pack, sides.test)
    return sides


def calibration_records(folder: Path, columns: Collection[str]) -> "tuple[Path, pl.DataFrame]":
    """Return the file of the records of the validation images of a run, of a study's cell or in a folder, and them.

    Every evaluation on the training data set keeps those of the clean validation images (validation.parquet). Where
    the model is calibrated, those of the calibrated model are meant.
    """
    import polars as pl

    from trustseg.records import read_records

    suffix = _suffix(folder)
    places = [
        folder / f"evaluation-validation{suffix}" / "records.parquet",
        folder / f"evaluation-test{suffix}" / "validation.parquet",
        *([] if suffix else [folder / "validation.parquet"]),
        *([] if (folder / "model").is_dir() else [folder / "records.parquet"]),
    ]
    file = _first_of(places, folder, f"records of validation images{' of the calibrated model' * bool(suffix)}")
    table = read_records(file, required=columns)
    splits = set(table.get_column("split", default=pl.Series([])).to_list())
    if file.name == "records.parquet" and (wrong := sorted(splits & {"test", "train"})):
        raise DataError(
            f"'{file}' holds records of the {wrong[0]} split, on which no policy may be fitted; give those of "
            "'trustseg evaluate MODEL --split validation'"
        )
    return file, table


def tested_records(folder: Path) -> Path:
    """Return the file of the records of the test images of a run, or in a folder; of a calibrated model if there is."""
    places = (folder / f"evaluation-test{_suffix(folder)}", folder / "evaluation-test", folder)
    return _first_of([place / "records.parquet" for place in places], folder, "records.parquet")


def _suffix(folder: Path) -> str:
    """Return how the evaluations of a run end that its deferral is about."""
    from trustseg.calibration import CALIBRATION_FILE

    if folder.is_file():
        raise MissingFileError(f"'{folder}' is a file; give the folder '{folder.parent}'")
    return "-calibrated" if (folder / "model" / CALIBRATION_FILE).is_file() else ""


def _first_of(places: list[Path], folder: Path, what: str) -> Path:
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        model = folder if (folder / "model").is_dir() else "MODEL"
        raise MissingFileError(f"no {what} in '{folder}'; run 'trustseg evaluate {model}'")
    return file


def home_of_records(records: Path) -> Path | None:
    """Return the run that an evaluation's records belong to, None where no model lies there."""
    homes = (records.parent, records.parent.parent)
    return next((home for home in homes if (home / "model" / "model.json").is_file()), None)
