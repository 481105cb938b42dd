"""``trustseg predict``: masks, uncertainty and flags for images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from trustseg.cli.display import say
from trustseg.cli.settings import MODEL_OR_FILE, home_of

if TYPE_CHECKING:
    from trustseg.data.intensity import IntensityScale
    from trustseg.dicom_output import SegmentMeaning

__all__ = ["predict"]


def predict(
    model: Annotated[Path, MODEL_OR_FILE],
    images: Annotated[
        Path | None, typer.Argument(help="An image, a folder of images, or a dataset folder.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write. Default: predictions.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the predictions in the folder.")] = False,
    measure: Annotated[str | None, typer.Option(help="Uncertainty measure, e.g. vacuity. Default: entropy.")] = None,
    aggregation: Annotated[
        str | None,
        typer.Option(help="How the map becomes an image score, e.g. foreground_mean. Default: soft_dice_confidence."),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="Policy from 'trustseg defer fit' or 'certify'; its measure and aggregation are used."),
    ] = None,
    control: Annotated[Path | None, typer.Option(help="Threshold from 'trustseg defer masks'.")] = None,
    noise_seeds: Annotated[
        Path | None,
        typer.Option(help="Repeat the noise recorded in this predictions.csv, with a certified policy."),
    ] = None,
    uncalibrated: Annotated[bool, typer.Option("--uncalibrated", help="Ignore the saved calibration.")] = False,
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
    from trustseg.cli.checks import require_empty
    from trustseg.errors import ConfigError

    replaces = overwrite or noise_seeds is not None
    _check_places(images, output, watch=watch is not None, replaces=replaces, waits=once or interval is not None)
    if segment is not None and not dicom:
        raise ConfigError("--segment names what DICOM objects show; remove it, or --no-dicom")
    folder = Path("predictions") if output is None else output
    if watch is None:
        require_empty(folder, "the predictions", overwrite=overwrite)
    choices = _Choices(measure, aggregation, policy, control, noise_seeds, uncalibrated)
    is_file = model.suffix.lower() in (".onnx", ".pt2") and not model.is_dir()
    ready = _with_file(model, choices) if is_file else _with_model(model, choices)
    meaning = partial(_meaning, ready, segment, segment_category, segment_type) if dicom else None
    if watch is not None:
        from trustseg.cli.watch import watch_inbox

        shown = meaning() if meaning is not None else None
        lines = watch_inbox(ready.run, *watch, scale=ready.scale, dicom=shown, once=once, interval=interval or 2.0)
    else:
        lines = _predict_folder(ready, images or Path(), folder, meaning)
    for line in (*ready.promises, *lines):
        say(line)


class _Choices(NamedTuple):
    """What the user chose about score and decision."""

    measure: str | None
    aggregation: str | None
    policy: Path | None
    control: Path | None
    noise_seeds: Path | None
    uncalibrated: bool


class _Ready(NamedTuple):
    """A model that is ready to predict: how, from which grey scale, of what, and under which promises."""

    run: Callable[..., Path]
    scale: "IntensityScale | None"
    target: Callable[[], str | None]
    promises: list[str]


def _with_model(model: Path, choices: _Choices) -> _Ready:
    """Return the model of a folder, with the policies that were chosen."""
    from trustseg.cli.certify import CERTIFIED_LIMITS
    from trustseg.cli.checks import require_score
    from trustseg.cli.defer import ONLY_CLEAN, limits_of
    from trustseg.cli.images import reading_of
    from trustseg.deferral import CertifiedPolicy, load_control
    from trustseg.deferral.any_policy import load_any_policy
    from trustseg.errors import ConfigError
    from trustseg.evaluation import load_model
    from trustseg.evaluation.noisy import recorded_draws
    from trustseg.evaluation.predict import predict as run_prediction
    from trustseg.former_names import current_aggregation
    from trustseg.models import device_of

    policy = None if choices.policy is None else load_any_policy(choices.policy)
    control = None if choices.control is None else load_control(choices.control)
    measure = choices.measure or "entropy"
    aggregation = current_aggregation(choices.aggregation or "soft_dice_confidence")
    if policy is not None:
        measure, aggregation = policy.measure, policy.aggregation
    require_score(measure, aggregation)
    draws = None
    if choices.noise_seeds is not None:
        if not isinstance(policy, CertifiedPolicy):
            raise ConfigError("noise can only be repeated for a certified policy; give it, or leave --noise-seeds out")
        draws = recorded_draws(choices.noise_seeds, noise=policy.noise)
    reading = reading_of(model)
    run = partial(
        run_prediction,
        load_model(model, uncalibrated=choices.uncalibrated),
        measure=measure,
        aggregation=aggregation,
        policy=policy,
        control=control,
        draws=draws,
        fit="squash" if reading is None else reading.fit,
        device=device_of("auto"),
    )
    promises: list[str] = []
    if policy is not None:
        limits = CERTIFIED_LIMITS if isinstance(policy, CertifiedPolicy) else limits_of(policy)
        promises += [policy.statement, limits]
    if control is not None:
        promises += [control.statement, *([] if ONLY_CLEAN in promises else [ONLY_CLEAN])]
    return _Ready(run, None if reading is None else reading.scale, partial(_target_of, model), promises)


def _target_of(model: Path) -> str | None:
    """Return what the run of a model calls its target."""
    from trustseg.config import load_run

    own = home_of(model) / "config.yaml"
    return load_run(own, []).data.target if own.is_file() else None


def _with_file(file: Path, choices: _Choices) -> _Ready:
    """Return the model of an exported file, which has its own score and policy.

    Raises:
        ConfigError: if something is chosen that is part of the file.
    """
    from trustseg.errors import ConfigError

    if given := [f"--{name.replace('_', '-')}" for name, value in choices._asdict().items() if value]:
        raise ConfigError(
            f"'{file}' has its own calibration, score and policy; remove {', '.join(given)}, or export the model again "
            "with them"
        )

    from trustseg.cli.defer import limits_of
    from trustseg.export import open_exported, predict_exported

    exported = open_exported(file)
    promises = [] if exported.policy is None else [exported.policy.statement, limits_of(exported.policy)]
    about = exported.description
    return _Ready(partial(predict_exported, exported), about.scale, lambda: about.target, promises)


def _check_places(images: Path | None, output: Path | None, *, watch: bool, replaces: bool, waits: bool) -> None:
    """Raise a ConfigError unless there is one place that images come from, and options go with it."""
    from trustseg.errors import ConfigError

    if watch and (images is not None or output is not None or replaces):
        raise ConfigError(
            "--watch takes its images from INBOX and writes into OUTBOX: leave IMAGES, --output, --overwrite and "
            "--noise-seeds out"
        )
    if not watch and images is None:
        raise ConfigError("no images given; give an image or a folder, or --watch INBOX OUTBOX")
    if not watch and waits:
        raise ConfigError("--once and --interval need --watch INBOX OUTBOX")


def _predict_folder(
    ready: _Ready, images: Path, folder: Path, meaning: "Callable[[], SegmentMeaning] | None"
) -> list[str]:
    """Predict some images, and return where the predictions are, in lines."""
    from trustseg.cli.progress import progress_of
    from trustseg.evaluation.predict import image_files_of
    from trustseg.evaluation.predicted_dicom import FOLDER
    from trustseg.prediction_folder import path_from

    def note(sentence: str) -> None:
        say(f"note: {sentence}", err=True)

    files = image_files_of(images, note=note)
    dicom = meaning() if meaning is not None and any(map(_is_dicom, files)) else None
    with progress_of("predicting") as report:
        table = ready.run(
            files, folder, scale=ready.scale, dicom=dicom, report=lambda done: report(done, len(files)), note=note
        )
    objects = [] if dicom is None else [f"DICOM objects: {table.parent / FOLDER}"]
    found = (folder / path_from(folder, files[0])).is_file()
    place = "" if found else f" --images {images if images.is_dir() else images.parent}"
    following = [f"next: trustseg review {table.parent}{place}"] if ready.promises else []
    return [f"masks and uncertainty maps: {table.parent}", *objects, f"scores: {table}", *_flagged(table), *following]


def _flagged(table: Path) -> list[str]:
    """Return how many images of a table go to a human, in a line; nothing without a policy."""
    from trustseg.tables import read_csv

    rows = read_csv(table, as_text=True)
    if "review" not in rows.columns:
        return []
    return [f"for review: {(rows['review'] == 'yes').sum()} of {len(rows)} images"]


def _is_dicom(file: Path) -> bool:
    """Return whether a file begins like DICOM; one that cannot be opened does not."""
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
