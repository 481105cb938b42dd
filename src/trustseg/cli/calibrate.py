"""``trustseg calibrate``: fit a calibration on the validation images of a model, and save it next to the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustseg.cli.display import say
from trustseg.cli.settings import KEYS, MODEL, SETTINGS_HELP, home_of, settings_of

if TYPE_CHECKING:
    from torch import Tensor

    from trustseg.beliefs import Belief
    from trustseg.calibration import Calibration

__all__ = ["calibrate"]

METHODS = {"temperature": "temperature_scaling", "beta": "beta_calibration", "evidence": "evidence_scaling"}
OF_HEAD = {"bernoulli": ("temperature", "beta"), "beta": ("evidence",)}  # head -> methods, the usual one first


def calibrate(
    model: Annotated[Path, MODEL],
    settings: Annotated[list[str] | None, typer.Argument(help=SETTINGS_HELP)] = None,
    method: Annotated[
        str | None,
        typer.Option(help="temperature or beta for a bernoulli head, evidence for a beta head. Default: by head."),
    ] = None,
    keys: Annotated[bool, KEYS] = False,
) -> None:
    """Calibrate a model on its validation images; writes MODEL/calibration.json, prints NLL and ECE.

    Test images are not used. 'evaluate' and 'predict' then apply the calibration, unless --uncalibrated is given.
    """
    from trustseg.calibration import CALIBRATION_FILE, fit_calibration
    from trustseg.cli.images import images_of
    from trustseg.cli.progress import progress_of
    from trustseg.data.seen import require_seen, validation_rows
    from trustseg.errors import ConfigError, unknown_name
    from trustseg.evaluation.beliefs import beliefs_of
    from trustseg.models import Segmenter, device_of

    if method is not None and method not in METHODS:
        raise unknown_name("calibration method", method, METHODS)
    segmenter = Segmenter.load(model)
    fitting = OF_HEAD[segmenter.spec.head]
    chosen = method or fitting[0]
    if chosen not in fitting:
        raise ConfigError(
            f"--method {chosen} does not apply to the {segmenter.spec.head} head of '{model}'; use "
            f"{' or '.join(fitting)}, or leave out --method"
        )
    config = settings_of(model, segmenter.spec, settings)
    seen = require_seen(model)
    pack = images_of(config.data, model=model)
    rows = validation_rows(seen, pack)
    batch_size, device = config.evaluation.batch_size, device_of(config.training.accelerator)
    with progress_of("fitting") as report:
        fitted = fit_calibration(
            beliefs_of(segmenter, pack, rows, batch_size=batch_size, device=device, report=report),
            method=METHODS[chosen],
            patients=pack.index["patient"].gather(rows.tolist()).to_list(),
            split="validation",
        )
    with progress_of("measuring") as report:
        beliefs = beliefs_of(segmenter, pack, rows, batch_size=batch_size, device=device, report=report)
        before, after = _calibration_errors(fitted, beliefs)
    fitted.save(model)
    _print_gain(fitted, before, after)
    say(f"calibration: {model / CALIBRATION_FILE}")
    say(f"next: trustseg evaluate {home_of(model)}")


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
        ("NLL (nats per pixel)", f"{fitted.nll_before:.4f}", f"{fitted.nll_after:.4f}"),
        ("ECE", f"{before:.4f}", f"{after:.4f}"),
    ]
    images, patients = fitted.images, fitted.patients
    print_table((f"on {images} validation images of {patients} patients", "before", "after"), rows, width=100)
    found = ", ".join(f"{name} {value:.4g}" for name, value in fitted.parameters.items())
    say(f"{fitted.method}: {found}")
    if fitted.at_limit:
        say(
            f"warning: the fit on {images} images ended at its limit ({', '.join(fitted.at_limit)}) and is not "
            "reliable; check the masks, use more validation images (data.validation_fraction), or run 'evaluate' and "
            "'predict' with --uncalibrated"
        )
