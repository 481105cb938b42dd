"""``trustseg defer masks`` and ``defer area``: masks that miss little, and intervals for the area, from validation."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustseg.cli.deferring import ONLY_CLEAN, Sides, sides_of
from trustseg.cli.display import note, print_table, say
from trustseg.cli.options import Keys, Model, Settings, Uncalibrated, home_of, output_option

if TYPE_CHECKING:
    from trustseg.data.splits import Indices
    from trustseg.deferral import AreaInterval, FalseNegativeControl
    from trustseg.models import BeliefModel

__all__ = ["area", "masks"]


def masks(
    model: Model,
    settings: Settings = None,
    output: Annotated[Path | None, output_option("File to write. Default: control.json next to MODEL.")] = None,
    at_most: Annotated[float, typer.Option(help="Bound on the expected share of missed foreground.")] = 0.1,
    adaptive: Annotated[
        bool, typer.Option(help="Threshold the share of the expected foreground at lower probability, not probability.")
    ] = False,
    uncalibrated: Uncalibrated = False,
    keys: Keys = False,
) -> None:
    """Fit a mask threshold that bounds the false-negative rate, on validation images; evaluate it on test images.

    Apply it with 'trustseg predict --control'. The bound is an average over patients, and void under attack or shift.
    """
    from trustseg.deferral import fit_false_negative_control, save_control
    from trustseg.evaluation.loading import hash_of_model

    loaded, sides = _load_for(at_most, model, settings, uncalibrated=uncalibrated)
    fitted_on = _maps_of(loaded, sides, sides.validation)
    control = fit_false_negative_control(**fitted_on, at_most=at_most, model=hash_of_model(loaded), adaptive=adaptive)
    file = output or home_of(model) / "control.json"
    save_control(control, file)
    _print_control(control, _maps_of(loaded, sides, sides.test))
    say(control.statement)
    say(ONLY_CLEAN)
    say(f"control: {file}")


def area(
    model: Model,
    settings: Settings = None,
    output: Annotated[Path | None, output_option("File to write. Default: area.json next to MODEL.")] = None,
    at_most: Annotated[
        float, typer.Option(help="Bound on the chance that any area of a new patient lies outside its interval.")
    ] = 0.1,
    uncalibrated: Uncalibrated = False,
    keys: Keys = False,
) -> None:
    """Fit an interval for the area of the foreground, on validation images; evaluate it on test images.

    Apply it with 'trustseg predict --area'. The bound is one over patients, and void under attack or shift.
    """
    from trustseg.deferral import fit_area_interval, save_area_interval
    from trustseg.evaluation.loading import hash_of_model

    loaded, sides = _load_for(at_most, model, settings, uncalibrated=uncalibrated)
    fitted_on = _maps_of(loaded, sides, sides.validation)
    interval = fit_area_interval(**fitted_on, at_most=at_most, model=hash_of_model(loaded))
    file = output or home_of(model) / "area.json"
    save_area_interval(interval, file)
    _print_interval(interval, _maps_of(loaded, sides, sides.test))
    say(interval.statement)
    say(ONLY_CLEAN)
    say(f"interval: {file}")


def _load_for(
    at_most: float, model: Path, settings: list[str] | None, *, uncalibrated: bool
) -> "tuple[BeliefModel, Sides]":
    """Return the model and its images, or refuse a bound before anything is predicted."""
    from trustseg.deferral.bounds import require_share
    from trustseg.evaluation import load_model

    require_share("at_most", at_most)
    loaded = load_model(model, uncalibrated=uncalibrated)
    return loaded, sides_of(model, loaded.spec, settings)


def _maps_of(model: "BeliefModel", sides: Sides, rows: "Indices") -> dict[str, Any]:
    """Return probabilities, masks and patients of some images, as the functions of ``deferral`` take them."""
    from trustseg.cli.progress import progress_of
    from trustseg.evaluation.beliefs import beliefs_of

    maps: dict[str, Any] = {"probabilities": [], "masks": []}
    batch_size = sides.config.evaluation.batch_size
    with progress_of("predicting") as report:
        for belief, references in beliefs_of(model, sides.pack, rows, batch_size=batch_size, report=report):
            maps["probabilities"] += list(belief.probability.numpy())
            maps["masks"] += list(references.numpy())
    return {**maps, "patients": sides.pack.index["patient"].gather(rows.tolist()).to_list()}


def _print_control(control: "FalseNegativeControl", tested: dict[str, Any]) -> None:
    import numpy as np
    import polars as pl

    from trustseg.deferral import apply_false_negative_control
    from trustseg.statistics import bootstrap_mean, bootstrap_ratio

    lines = []
    half = replace(control, threshold=0.5, adaptive=False)
    for words, each in (("usual, p >= 0.5", half), (f"fitted, {control.rule}", control)):
        table = apply_false_negative_control(each, **tested)
        positive, healthy = table.filter(pl.col("mask_px") > 0), table.filter(pl.col("mask_px") == 0)
        shares = positive.group_by("patient", maintain_order=True).agg(pl.mean("false_negative_rate"))
        missed = bootstrap_mean(shares["false_negative_rate"], shares["patient"]) if len(shares) else None
        price = bootstrap_ratio(positive["set_px"], positive["mask_px"], positive["patient"]) if len(shares) else None
        false = f"{np.mean((healthy['set_px'] / healthy['pixels']).to_numpy()):.3f}" if len(healthy) else "no image"
        lines.append([words, *("undefined" if found is None else found.text(3) for found in (missed, price)), false])
    header = ("mask of the test images", "foreground missed", "area / reference", "area without foreground")
    print_table(header, lines, width=130)


def _print_interval(interval: "AreaInterval", tested: dict[str, Any]) -> None:
    """Print how often areas of the test images lie within their intervals, and how wide these are."""
    import numpy as np
    import polars as pl

    from trustseg.deferral import apply_area_interval
    from trustseg.statistics import bootstrap_mean

    table = apply_area_interval(interval, **tested).with_columns(
        width=(pl.col("high_px") - pl.col("low_px")) / pl.col("pixels"),
        error=(pl.col("predicted_px") - pl.col("mask_px")).abs() / pl.col("pixels"),
    )
    patients = table.group_by("patient", maintain_order=True).agg(pl.col("inside").all().cast(pl.Float64))
    if (width := float(np.mean(table["width"].to_numpy()))) > 0.5:
        note(f"the intervals span {width:.0%} of the image on average and say next to nothing; more patients may help")
    lines = [
        ["patients with all areas inside", bootstrap_mean(patients["inside"], patients["patient"]).text(3)],
        ["images with the area inside", bootstrap_mean(table["inside"].cast(pl.Float64), table["patient"]).text(3)],
        ["width of the interval, share of the image", bootstrap_mean(table["width"], table["patient"]).text(4)],
        ["error of the area of p > 0.5, share of the image", bootstrap_mean(table["error"], table["patient"]).text(4)],
    ]
    print_table(("test images", "value"), lines, width=130)
