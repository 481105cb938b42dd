"""``trustseg calibrate``: fit a calibration on the validation images of a model, and keep it beside the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustseg.cli.settings import SETTINGS_HELP, settings_of

if TYPE_CHECKING:
    from torch import Tensor

    from trustseg.beliefs import Belief
    from trustseg.calibration import Calibration
    from trustseg.data import Pack
    from trustseg.data.splits import Indices
    from trustseg.models import Segmenter

__all__ = ["calibrate"]

METHODS = {"temperature": "temperature_scaling", "beta": "beta_calibration", "evidence": "evidence_scaling"}


def calibrate(
    model: Annotated[Path, typer.Argument(help="Model folder written by train or study.")],
    settings: Annotated[list[str] | None, typer.Argument(help=SETTINGS_HELP)] = None,
    method: Annotated[
        str | None,
        typer.Option(help="temperature or beta for a bernoulli head, evidence for a beta head. Default: by head."),
    ] = None,
) -> None:
    """Calibrate a model on the images it was validated on; writes MODEL/calibration.json, prints NLL and ECE.

    Test images are never used. 'evaluate' and 'predict' apply the calibration from then on, unless --uncalibrated.
    """
    from trustseg.calibration import CALIBRATION_FILE, fit_calibration
    from trustseg.data import open_dataset
    from trustseg.data.seen import seen_by, validation_rows
    from trustseg.errors import DataError, unknown_name
    from trustseg.models import Segmenter

    if method is not None and method not in METHODS:
        raise unknown_name("calibration method", method, METHODS)
    segmenter = Segmenter.load(model)
    chosen = method or ("evidence" if segmenter.spec.head == "beta" else "temperature")
    config = settings_of(model, segmenter.spec, settings)
    seen = seen_by(model)
    if seen is None:
        raise DataError(
            f"no splits.json in '{model}', it was expected, as it says which images the model was validated on; "
            "train with this version of trustseg"
        )
    pack = open_dataset(str(config.data.path), size=config.data.size, channels=config.data.channels)
    rows = validation_rows(seen, pack)
    batch_size = config.evaluation.batch_size
    fitted = fit_calibration(
        _beliefs(segmenter, pack, rows, batch_size=batch_size),
        method=METHODS[chosen],
        patients=pack.index["patient"].gather(rows.tolist()).to_list(),
        split="validation",
    )
    before, after = _calibration_errors(fitted, _beliefs(segmenter, pack, rows, batch_size=batch_size))
    fitted.save(model)
    _print_gain(fitted, before, after)
    typer.echo(f"calibration: {model / CALIBRATION_FILE}")


def _beliefs(
    segmenter: "Segmenter", pack: "Pack", rows: "Indices", *, batch_size: int
) -> "Iterator[tuple[Belief, Tensor]]":
    """Yield belief and masks of each batch of the given rows."""
    import torch

    from trustseg.beliefs import check_belief
    from trustseg.data.module import as_images, pack_loader

    for batch in pack_loader(pack, rows, batch_size=batch_size):
        images, masks = as_images(batch)
        with torch.no_grad():
            belief = segmenter.belief(images)
        check_belief(belief)
        yield belief, masks


def _calibration_errors(fitted: "Calibration", beliefs: "Iterator[tuple[Belief, Tensor]]") -> tuple[float, float]:
    """Return the expected calibration error over all pixels, before and after."""
    from trustseg.metrics import CalibrationError

    before, after = CalibrationError(), CalibrationError()
    for belief, masks in beliefs:
        before.update(belief.probability, masks)
        after.update(fitted.apply(belief).probability, masks)
    return float(before.compute()), float(after.compute())


def _print_gain(fitted: "Calibration", before: float, after: float) -> None:
    from trustseg.cli.display import print_table

    rows = [
        ("NLL (nats a pixel)", f"{fitted.nll_before:.4f}", f"{fitted.nll_after:.4f}"),
        ("ECE", f"{before:.4f}", f"{after:.4f}"),
    ]
    images, patients = fitted.images, fitted.patients
    print_table((f"on {images} validation images of {patients} patients", "before", "after"), rows, width=100)
    found = ", ".join(f"{name} {value:.4g}" for name, value in fitted.parameters.items())
    typer.echo(f"{fitted.method}: {found}")
    if fitted.at_limit:
        typer.echo(
            f"the fit ended at its limit: {', '.join(fitted.at_limit)}; the labels ask for probabilities with almost "
            "no evidence, or with almost no doubt; check the validation images"
        )
