"""``trustseg predict``: masks, uncertainty and flags for images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from trustseg.cli.checks import require_empty
from trustseg.cli.deferring import ONLY_CLEAN, limits_of, score_of
from trustseg.cli.display import note, say
from trustseg.cli.options import ExportedOrModel, Overwrite, ScoreAggregation, ScoreMeasure, Uncalibrated, output_option
from trustseg.errors import ConfigError, MissingFileError

if TYPE_CHECKING:
    from trustseg.data.intensity import IntensityScale
    from trustseg.dicom_output import SegmentMeaning

__all__ = ["Choices", "predict", "with_model"]


def predict(
    model: ExportedOrModel,
    images: Annotated[
        Path | None, typer.Argument(help="An image, a folder of images, or a dataset folder.", show_default=False)
    ] = None,
    output: Annotated[Path | None, output_option("Folder to write. Default: predictions.")] = None,
    overwrite: Overwrite = False,
    measure: ScoreMeasure = None,
    aggregation: ScoreAggregation = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="Policy from 'trustseg defer fit' or 'certify'; its measure and aggregation are used."),
    ] = None,
    control: Annotated[Path | None, typer.Option(help="Threshold from 'trustseg defer masks'.")] = None,
    area: Annotated[Path | None, typer.Option(help="Interval of areas from 'trustseg defer area'.")] = None,
    noise_seeds: Annotated[
        Path | None, typer.Option(help="Repeat the noise recorded in this predictions.csv, with a certified policy.")
    ] = None,
    uncalibrated: Uncalibrated = False,
    dicom: Annotated[
        bool, typer.Option("--dicom/--no-dicom", help="Write DICOM objects of DICOM images as well; needs highdicom.")
    ] = True,
    segment: Annotated[
        str | None, typer.Option(help="Label of the segment in them. Default: data.target of the run.")
    ] = None,
    segment_category: Annotated[
        str, typer.Option(help="Category of what it marks.", metavar="SCHEME:VALUE:MEANING")
    ] = "SCT:49755003:Morphologically Abnormal Structure",
    segment_type: Annotated[
        str, typer.Option(help="Type of what it marks.", metavar="SCHEME:VALUE:MEANING")
    ] = "SCT:52988006:Lesion",
    watch: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--watch", metavar="INBOX OUTBOX", help="Predict files as they arrive, until Ctrl-C."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="With --watch: stop when no file waits.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(min=0.1, max=3600, help="With --watch: seconds between two looks at the inbox. Default: 2."),
    ] = None,
) -> None:
    """Write masks, uncertainty maps and a CSV of image scores, most uncertain image first. Research use only.

    Of DICOM images, a segmentation, an uncertainty map, a secondary capture and a report are written as DICOM, too.
    """
    if watch is not None and (images is not None or output is not None or overwrite or noise_seeds is not None):
        raise ConfigError(
            "--watch takes its images from INBOX and writes into OUTBOX: leave IMAGES, --output, --overwrite and "
            "--noise-seeds out"
        )
    if watch is None and images is None:
        raise ConfigError("no images given; give an image or a folder, or --watch INBOX OUTBOX")
    if watch is None and (once or interval is not None):
        raise ConfigError("--once and --interval need --watch INBOX OUTBOX")
    if segment is not None and not dicom:
        raise ConfigError("--segment names what DICOM objects show; remove it, or --no-dicom")
    folder = output or Path("predictions")
    if images is not None and not images.exists():
        raise MissingFileError(f"no image or folder '{images}'; check the path")
    if watch is None:
        require_empty(folder, overwrite=overwrite)
    choices = Choices(measure, aggregation, policy, control, area, noise_seeds, uncalibrated)
    is_file = model.suffix.lower() in (".onnx", ".pt2") and not model.is_dir()
    ready = _with_file(model, choices) if is_file else with_model(model, choices)
    meaning = partial(_meaning, ready, segment, segment_category, segment_type) if dicom else None
    if watch is not None:
        from trustseg.cli.watch import watch_inbox

        shown = meaning() if meaning is not None else None
        lines = watch_inbox(ready.run, *watch, scale=ready.scale, dicom=shown, once=once, interval=interval or 2.0)
    else:
        lines = _predict_folder(ready, images or Path(), folder, meaning)
    for line in (*ready.promises, *lines):
        say(line)


class Choices(NamedTuple):
    """What the user chose about score and decision."""

    measure: str | None = None
    aggregation: str | None = None
    policy: Path | None = None
    control: Path | None = None
    area: Path | None = None
    noise_seeds: Path | None = None
    uncalibrated: bool = False


class _Ready(NamedTuple):
    """A model ready to predict: how, from which grey scale, of what, what is promised, and if a policy was fitted."""

    run: Callable[..., Path]
    scale: "IntensityScale | None"
    target: Callable[[], str | None]
    promises: list[str]
    fitted: bool


def with_model(model: Path, choices: Choices) -> _Ready:
    """Return the model of a folder, with the policies that were chosen."""
    from trustseg.cli.images import reading_of
    from trustseg.config.loading import data_of_run
    from trustseg.deferral import CertifiedPolicy, load_area_interval, load_control
    from trustseg.deferral.policy_files import load_any_policy
    from trustseg.evaluation import load_model
    from trustseg.evaluation.noisy import recorded_draws
    from trustseg.evaluation.predict import predict as run_prediction
    from trustseg.models import device_of

    policy = None if choices.policy is None else load_any_policy(choices.policy)
    control = None if choices.control is None else load_control(choices.control)
    area = None if choices.area is None else load_area_interval(choices.area)
    measure, aggregation = score_of(choices.measure, choices.aggregation, policy)
    draws = None
    if choices.noise_seeds is not None:
        if not isinstance(policy, CertifiedPolicy):
            raise ConfigError("noise can only be repeated for a certified policy; give it, or leave --noise-seeds out")
        draws = recorded_draws(choices.noise_seeds, noise=policy.noise)
    loaded = load_model(model, uncalibrated=choices.uncalibrated)
    reading = reading_of(model)
    run = partial(
        run_prediction,
        loaded,
        measure=measure,
        aggregation=aggregation,
        policy=policy,
        control=control,
        area=area,
        draws=draws,
        fit="squash" if reading is None else reading.fit,
        device=device_of("auto"),
    )
    promises = [] if policy is None else [policy.statement, limits_of(policy)]
    if fitted := [each.statement for each in (control, area) if each is not None]:
        promises = [*fitted, *promises, *([] if ONLY_CLEAN in promises else [ONLY_CLEAN])]

    def target() -> str | None:
        return None if (data := data_of_run(model)) is None else data.target

    return _Ready(run, None if reading is None else reading.scale, target, promises, policy is None or policy.fitted)


def _with_file(file: Path, choices: Choices) -> _Ready:
    """Return the model of an exported file, which has its own score and policy; refuse other choices."""
    if given := [f"--{name.replace('_', '-')}" for name, value in choices._asdict().items() if value]:
        raise ConfigError(
            f"'{file}' has its own calibration, score and policy; remove {', '.join(given)}; another calibration, "
            "score or policy takes another export"
        )

    from trustseg.export import open_exported, predict_exported

    exported = open_exported(file)
    promises = [] if exported.policy is None else [exported.policy.statement, limits_of(exported.policy)]
    about = exported.description
    fitted = exported.policy is None or exported.policy.fitted
    return _Ready(partial(predict_exported, exported), about.scale, lambda: about.target, promises, fitted)


def _predict_folder(
    ready: _Ready, images: Path, folder: Path, meaning: "Callable[[], SegmentMeaning] | None"
) -> list[str]:
    """Predict some images, and return where the predictions are, in lines."""
    from trustseg.cli.progress import progress_of
    from trustseg.evaluation.predict import image_files_of
    from trustseg.evaluation.predicted_dicom import FOLDER
    from trustseg.prediction_folder import path_from
    from trustseg.tables import read_csv

    files = image_files_of(images, note=note)
    dicom = meaning() if meaning is not None and any(map(_is_dicom, files)) else None
    with progress_of("predicting") as report:
        table = ready.run(
            files, folder, scale=ready.scale, dicom=dicom, report=lambda done: report(done, len(files)), note=note
        )
    lines = [f"masks and uncertainty maps: {table.parent}"]
    if dicom is not None:
        lines.append(f"DICOM objects: {table.parent / FOLDER}")
    lines.append(f"scores: {table}")
    rows = read_csv(table, as_text=True)
    if "review" in rows.columns:
        why = "" if ready.fitted else ", as the policy could not be fitted"
        lines.append(f"for review: {(rows['review'] == 'yes').sum()} of {len(rows)} images{why}")
    if ready.promises and ready.fitted:
        found = (folder / path_from(folder, next(iter(files)))).is_file()
        place = "" if found else f" --images {images if images.is_dir() else images.parent}"
        lines.append(f"next: trustseg review {table.parent}{place}")
    return lines


def _is_dicom(file: Path) -> bool:
    from trustseg.data.dicom import is_dicom

    try:
        with file.open("rb") as stream:
            return is_dicom(stream.read(132))
    except OSError:  # which reading it as an image tells
        return False


def _meaning(ready: _Ready, label: str | None, category: str, kind: str) -> "SegmentMeaning":
    """Return what masks mean; a ConfigError if a code or the label is not written as DICOM needs it."""
    from trustseg.dicom_output import Code, SegmentMeaning

    return SegmentMeaning(label or ready.target() or "foreground", Code.parse(category), Code.parse(kind))
