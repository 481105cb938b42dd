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
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Ignore the calibration beside the model.")
    ] = False,
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
        float, typer.Option(min=0.1, max=3600, help="With --watch: seconds between two looks at the inbox.")
    ] = 2.0,
) -> None:
    """Write masks, uncertainty maps and a CSV of image scores, most uncertain image first. Research use only.

    Of DICOM images, a segmentation, an uncertainty map, a secondary capture and a report are written as DICOM, too.
    """
    from trustseg.cli.checks import require_empty, require_score

    _check_places(images, output, watch=watch is not None, unusual=overwrite or noise_seeds is not None, once=once)
    folder = Path("predictions") if output is None else output
    if not overwrite and watch is None:
        require_empty(folder)
    if model.suffix.lower() in (".onnx", ".pt2") and not model.is_dir():
        options = {"--measure": measure, "--aggregation": aggregation, "--policy": policy, "--control": control}
        options |= {"--noise-seeds": noise_seeds}
        given = [name for name, value in options.items() if value is not None] + ["--uncalibrated"] * uncalibrated
        shown = _Shown(dicom, segment, segment_category, segment_type)
        _predict_with_file(model, given, images or Path(), folder, shown, watch, once=once, interval=interval)
        return

    from trustseg.cli.certify import CERTIFIED_LIMITS
    from trustseg.cli.defer import ONLY_CLEAN
    from trustseg.data.reading import reading_beside
    from trustseg.deferral import CertifiedPolicy, load_control
    from trustseg.deferral.any_policy import load_any_policy
    from trustseg.evaluation import load_model
    from trustseg.evaluation.noisy import recorded_draws
    from trustseg.evaluation.predict import predict as run_prediction
    from trustseg.former_names import current_aggregation
    from trustseg.models import device_of

    frozen = None if policy is None else load_any_policy(policy)
    cautious = None if control is None else load_control(control)
    measure, aggregation = measure or "entropy", current_aggregation(aggregation or "soft_dice_confidence")
    if frozen is not None:
        measure, aggregation = frozen.measure, frozen.aggregation
    require_score(measure, aggregation)
    loaded = load_model(model, uncalibrated=uncalibrated)
    reading = reading_beside(model)

    run = partial(
        run_prediction,
        loaded,
        measure=measure,
        aggregation=aggregation,
        policy=frozen,
        control=cautious,
        draws=None if noise_seeds is None else recorded_draws(noise_seeds),
        fit="squash" if reading is None else reading.fit,
        device=device_of("auto"),
    )
    meaning = partial(_meaning, model, segment, segment_category, segment_type)
    scale = None if reading is None else reading.scale
    if watch is not None:
        from trustseg.cli.watch import watch_inbox

        lines = watch_inbox(run, *watch, scale=scale, dicom=meaning() if dicom else None, once=once, interval=interval)
    else:
        lines = _predict_folder(run, images or Path(), folder, scale, meaning if dicom else None)
    if frozen is not None:
        say(frozen.statement)
    if cautious is not None:
        say(cautious.statement)
    if frozen is not None or cautious is not None:
        say(CERTIFIED_LIMITS if isinstance(frozen, CertifiedPolicy) else ONLY_CLEAN)
    for line in lines:
        say(line)


class _Shown(NamedTuple):
    """Whether DICOM objects are written, and what a segment in them means."""

    dicom: bool
    segment: str | None
    category: str
    kind: str


def _predict_with_file(
    file: Path,
    given: list[str],
    images: Path,
    folder: Path,
    shown: _Shown,
    watch: tuple[Path, Path] | None,
    *,
    once: bool,
    interval: float,
) -> None:
    """Predict with an exported file, which has its own score and policy.

    Raises:
        ConfigError: if options are ``given`` that are part of the file.
    """
    from trustseg.errors import ConfigError

    if given:
        raise ConfigError(
            f"'{file}' has its own calibration, score and policy; remove {', '.join(given)}, or export the model again "
            "with them"
        )

    from trustseg.cli.defer import ONLY_CLEAN
    from trustseg.export import open_exported, predict_exported

    exported = open_exported(file)
    label = shown.segment or exported.description.target or "foreground"
    run, meaning = partial(predict_exported, exported), partial(_meaning, file, label, shown.category, shown.kind)
    scale = exported.description.scale
    if watch is not None:
        from trustseg.cli.watch import watch_inbox

        dicom = meaning() if shown.dicom else None
        lines = watch_inbox(run, *watch, scale=scale, dicom=dicom, once=once, interval=interval)
    else:
        lines = _predict_folder(run, images, folder, scale, meaning if shown.dicom else None)
    if exported.policy is not None:
        lines = [exported.policy.statement, ONLY_CLEAN, *lines]
    for line in lines:
        say(line)


def _check_places(images: Path | None, output: Path | None, *, watch: bool, unusual: bool, once: bool) -> None:
    """Raise a ConfigError unless there is one place that images come from, and options go with it."""
    from trustseg.errors import ConfigError

    if watch and (images is not None or output is not None or unusual):
        raise ConfigError(
            "--watch takes its images from INBOX and writes into OUTBOX: leave IMAGES, --output, --overwrite and "
            "--noise-seeds out"
        )
    if not watch and images is None:
        raise ConfigError("no images given; give an image or a folder, or --watch INBOX OUTBOX")
    if not watch and once:
        raise ConfigError("--once needs --watch INBOX OUTBOX")


def _predict_folder(
    run: Callable[..., Path],
    images: Path,
    folder: Path,
    scale: "IntensityScale | None",
    meaning: "Callable[[], SegmentMeaning] | None",
) -> list[str]:
    """Predict some images, and return where the predictions are, in lines."""
    from trustseg.cli.progress import progress_of
    from trustseg.evaluation.predict import image_files_of
    from trustseg.evaluation.predicted_dicom import FOLDER

    def note(sentence: str) -> None:
        say(f"note: {sentence}", err=True)

    files = image_files_of(images, note=note)
    dicom = meaning() if meaning is not None and any(map(_is_dicom, files)) else None
    with progress_of("predicting") as report:
        table = run(files, folder, scale=scale, dicom=dicom, report=lambda done: report(done, len(files)), note=note)
    objects = [] if dicom is None else [f"DICOM objects: {table.parent / FOLDER}"]
    return [f"masks and uncertainty maps: {table.parent}", *objects, f"scores: {table}"]


def _is_dicom(file: Path) -> bool:
    """Return whether a file begins like DICOM; one that cannot be opened does not."""
    from trustseg.data.dicom import is_dicom

    try:
        with file.open("rb") as stream:
            return is_dicom(stream.read(132))
    except OSError:  # which reading it as an image tells
        return False


def _meaning(model: Path, label: str | None, category: str, kind: str) -> "SegmentMeaning":
    """Return what the masks of a model mean: what is given, else what the run of the model calls its target.

    Raises:
        ConfigError: if a code or the label is not written as DICOM needs it, or the settings of the run are damaged.
    """
    from trustseg.dicom_output import Code, SegmentMeaning

    own = home_of(model) / "config.yaml"
    if label is None and own.is_file():
        from trustseg.config import load_run

        label = load_run(own, []).data.target
    return SegmentMeaning(label or "foreground", Code.parse(category), Code.parse(kind))
