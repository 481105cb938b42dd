"""``trustseg predict``: masks, uncertainty and flags for images."""

from pathlib import Path
from typing import Annotated

import typer

from trustseg.cli.display import say
from trustseg.cli.settings import MODEL

__all__ = ["predict"]


def predict(
    model: Annotated[Path, MODEL],
    images: Annotated[Path, typer.Argument(help="An image, a folder of images, or a dataset folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("predictions"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the predictions in the folder.")] = False,
    measure: Annotated[str, typer.Option(help="Uncertainty measure, e.g. entropy, vacuity.")] = "entropy",
    aggregation: Annotated[
        str, typer.Option(help="How the map becomes an image score, e.g. foreground_mean.")
    ] = "soft_dice_confidence",
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
) -> None:
    """Write masks, uncertainty maps and a CSV of image scores, most uncertain image first. Research use only."""
    from trustseg.cli.checks import require_empty, require_score

    if not overwrite:
        require_empty(output)

    from trustseg.cli.certify import CERTIFIED_LIMITS
    from trustseg.cli.defer import ONLY_CLEAN
    from trustseg.cli.progress import progress_of
    from trustseg.data.reading import reading_beside
    from trustseg.deferral import CertifiedPolicy, load_control
    from trustseg.deferral.any_policy import load_any_policy
    from trustseg.evaluation import load_model
    from trustseg.evaluation.noisy import recorded_draws
    from trustseg.evaluation.predict import image_files_of
    from trustseg.evaluation.predict import predict as run_prediction
    from trustseg.former_names import current_aggregation
    from trustseg.models import device_of

    frozen = None if policy is None else load_any_policy(policy)
    cautious = None if control is None else load_control(control)
    if frozen is not None:
        measure, aggregation = frozen.measure, frozen.aggregation
    aggregation = current_aggregation(aggregation)
    require_score(measure, aggregation)
    loaded = load_model(model, uncalibrated=uncalibrated)
    reading = reading_beside(model)

    def note(sentence: str) -> None:
        say(f"note: {sentence}", err=True)

    files = image_files_of(images, note=note)
    with progress_of("predicting") as report:
        table = run_prediction(
            loaded,
            files,
            output,
            measure=measure,
            aggregation=aggregation,
            policy=frozen,
            control=cautious,
            draws=None if noise_seeds is None else recorded_draws(noise_seeds),
            scale=None if reading is None else reading.scale,
            fit="squash" if reading is None else reading.fit,
            device=device_of("auto"),
            report=lambda done: report(done, len(files)),
            note=note,
        )
    if frozen is not None:
        say(frozen.statement)
    if cautious is not None:
        say(cautious.statement)
    if frozen is not None or cautious is not None:
        say(CERTIFIED_LIMITS if isinstance(frozen, CertifiedPolicy) else ONLY_CLEAN)
    say(f"masks and uncertainty maps: {table.parent}")
    say(f"scores: {table}")
