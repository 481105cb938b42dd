"""``trustseg calibrate``: fit a calibration on the validation images of a model, and save it next to the model."""

from typing import Annotated, Literal

import typer

from trustseg.cli.display import print_table, say
from trustseg.cli.options import Keys, Model, Settings, home_of, settings_of
from trustseg.errors import ConfigError

__all__ = ["calibrate"]

METHODS = {"temperature": "temperature_scaling", "beta": "beta_calibration", "evidence": "evidence_scaling"}
OF_HEAD = {"bernoulli": ("temperature", "beta"), "beta": ("evidence",)}  # head -> methods, the usual one first


def calibrate(
    model: Model,
    settings: Settings = None,
    method: Annotated[
        Literal["temperature", "beta", "evidence"] | None,
        typer.Option(help="temperature or beta for a bernoulli head, evidence for a beta head. Default: by head."),
    ] = None,
    keys: Keys = False,
) -> None:
    """Calibrate a model on its validation images; writes MODEL/calibration.json, prints NLL and ECE.

    Test images are not used. 'evaluate' and 'predict' then apply the calibration, unless --uncalibrated is given.
    """
    from trustseg.calibration import CALIBRATION_FILE, fit_calibration
    from trustseg.cli.images import images_of
    from trustseg.cli.progress import progress_of
    from trustseg.data.training_record import require_training_record, validation_rows
    from trustseg.evaluation.beliefs import beliefs_of
    from trustseg.metrics import CalibrationError
    from trustseg.models import Segmenter, device_of

    segmenter = Segmenter.load(model)
    fitting = OF_HEAD[segmenter.spec.head]
    if method is not None and method not in fitting:
        raise ConfigError(
            f"--method {method} does not apply to the {segmenter.spec.head} head of '{model}'; use "
            f"{' or '.join(fitting)}, or leave out --method"
        )
    config = settings_of(model, segmenter.spec, settings)
    seen = require_training_record(model)
    pack = images_of(config.data, model=model)
    rows = validation_rows(seen, pack)
    batch_size, device = config.evaluation.batch_size, device_of(config.training.accelerator)
    with progress_of("fitting") as report:
        fitted = fit_calibration(
            beliefs_of(segmenter, pack, rows, batch_size=batch_size, device=device, report=report),
            method=METHODS[method or fitting[0]],
            patients=pack.index["patient"].gather(rows.tolist()).to_list(),
            split="validation",
        )
    before, after = CalibrationError(), CalibrationError()
    with progress_of("measuring") as report:
        for belief, masks in beliefs_of(segmenter, pack, rows, batch_size=batch_size, device=device, report=report):
            before.update(belief.probability, masks)
            after.update(fitted.apply(belief).probability, masks)
    fitted.save(model)
    lines = [
        ("NLL (nats per pixel)", f"{fitted.nll_before:.4f}", f"{fitted.nll_after:.4f}"),
        ("ECE", f"{float(before.compute()):.4f}", f"{float(after.compute()):.4f}"),
    ]
    header = (f"on {fitted.images} validation images of {fitted.patients} patients", "before", "after")
    print_table(header, lines, width=100)
    say(f"{fitted.method}: {', '.join(f'{name} {value:.4g}' for name, value in fitted.parameters.items())}")
    if fitted.at_limit:
        say(
            f"warning: the fit on {fitted.images} images ended at its limit ({', '.join(fitted.at_limit)}) and is not "
            "reliable; check the masks, use more validation images (data.validation_fraction), or run 'evaluate' and "
            "'predict' with --uncalibrated"
        )
    say(f"calibration: {model / CALIBRATION_FILE}")
    say(f"next: trustseg evaluate {home_of(model)}")
