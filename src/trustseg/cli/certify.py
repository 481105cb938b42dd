"""``trustseg defer certify``: a policy whose undetected failures stay rare under every attack within a radius."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trustseg.cli.display import say
from trustseg.cli.settings import KEYS, MODEL, SETTINGS_HELP, home_of, settings_of

if TYPE_CHECKING:
    import polars as pl

    from trustseg.deferral import CertifiedPolicy

__all__ = ["CERTIFIED_LIMITS", "OPTIMISTIC", "certify"]

CERTIFIED_LIMITS: Final = (
    "The guarantee holds for new patients like those of the calibration split. It is void for other populations, under "
    "shifts and larger changes, and if an image is handed in again until it is kept."
)

OPTIMISTIC: Final = (
    "the model was calibrated on the validation images, on which the policy is fitted as well; that makes its promise "
    "optimistic. Certify with --uncalibrated, or calibrate on other patients"
)

_FACTORS: Final = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)  # of the radius, at which the bound is printed


def certify(
    model: Annotated[Path, MODEL],
    settings: Annotated[list[str] | None, typer.Argument(help=SETTINGS_HELP)] = None,
    radius: Annotated[
        float, typer.Option(help="Largest change of an image, L2 norm of pixel values in [0, 1] at the model's size.")
    ] = 0.125,
    noise: Annotated[
        float, typer.Option(help="Deviation of the noise; train with training.noise of this size.")
    ] = 0.25,
    at_most: Annotated[float, typer.Option(help="Bound on undetected failures under attack.")] = 0.1,
    delta: Annotated[
        float | None, typer.Option(help="Probability that the bound is violated. Default: it holds on average.")
    ] = None,
    tau: Annotated[float, typer.Option(help="Segmentations with a Dice below this count as failed.")] = 0.5,
    measure: Annotated[str, typer.Option(help="Pixel measure of uncertainty.")] = "entropy",
    aggregation: Annotated[str, typer.Option(help="How the map becomes an image score.")] = "soft_dice_confidence",
    draws: Annotated[
        int, typer.Option(min=1, help="Noisy draws of each calibration image; with 16 or more the bound is sharper.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise of the calibration images.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: certified.json next to MODEL.")
    ] = None,
    uncalibrated: Annotated[bool, typer.Option("--uncalibrated", help="Ignore the saved calibration.")] = False,
    keys: Annotated[bool, KEYS] = False,
) -> None:
    """Fit a deferral policy whose guarantee survives attacks within a radius, on validation images; try it on others.

    It decides on one noisy draw of each image. Apply it with 'trustseg predict --policy'.
    """
    from trustseg.calibration import Calibrated
    from trustseg.cli.checks import require_score
    from trustseg.cli.images import images_of
    from trustseg.cli.progress import progress_of
    from trustseg.data.seen import require_seen, require_unseen, validation_rows
    from trustseg.deferral import fit_certified_policy, save_certified_policy
    from trustseg.deferral.certified import require_patients
    from trustseg.evaluation import load_model, rows_of_split
    from trustseg.evaluation.loading import hash_of_model
    from trustseg.evaluation.noisy import noisy_records
    from trustseg.former_names import current_aggregation
    from trustseg.models import device_of

    aggregation = current_aggregation(aggregation)
    require_score(measure, aggregation)
    loaded = load_model(model, uncalibrated=uncalibrated)
    config = settings_of(model, loaded.spec, settings)
    seen = require_seen(model)
    pack = images_of(config.data, model=model)
    sides = {"validation": validation_rows(seen, pack), "test": rows_of_split(pack, "test", config.data)}
    require_unseen(seen, pack, sides["test"])
    patients = pack.index["patient"].gather(sides["validation"].tolist()).n_unique()
    # Before anything takes time:
    require_patients(patients, at_most=at_most, radius=radius, noise=noise, delta=delta, draws=draws)
    calibrated = isinstance(loaded, Calibrated) and loaded.calibration.split == "validation"
    _say_notes(trained=config.training.noise, noise=noise, calibrated=calibrated)
    predict = partial(
        noisy_records, loaded, pack, noise=noise, seed=seed, measure=measure, aggregation=aggregation, draws=draws,
        device=device_of("auto"),
    )  # fmt: skip
    found = {}
    for side, rows in sides.items():
        with progress_of(f"predicting ({side})") as report:
            found[side] = predict(rows, report=report)
    policy = fit_certified_policy(
        found["validation"],
        measure=measure,
        aggregation=aggregation,
        radius=radius,
        noise=noise,
        at_most=at_most,
        tau=tau,
        delta=delta,
        seed=seed,
        size=loaded.spec.size,
        channels=loaded.spec.channels,
        model=hash_of_model(loaded),
    )
    file = output or home_of(model) / "certified.json"
    save_certified_policy(policy, file)
    _say_policy(policy, found)
    say(f"policy: {file}; next: trustseg predict {model} IMAGES --policy {file}")


def _say_notes(*, trained: float, noise: float, calibrated: bool) -> None:
    """Say what makes the policy worse than it could be, or its promise optimistic."""
    if trained != noise:
        say(
            f"note: the model was trained with training.noise={trained:g}, not {noise:g}; expect a lower Dice and "
            "fewer kept images than from one that was",
            err=True,
        )
    if calibrated:
        say(f"note: {OPTIMISTIC}", err=True)


def _say_policy(policy: "CertifiedPolicy", found: "dict[str, pl.DataFrame]") -> None:
    """Say how the policy fares without attack, what it promises, and where that ends."""
    _print_sides(policy, found)
    _print_bounds(policy)
    say(policy.statement)
    say(CERTIFIED_LIMITS)
    if not policy.kept:
        say("no calibration image is kept: under this noise the model fails where it looks surest")


def _print_sides(policy: "CertifiedPolicy", found: "dict[str, pl.DataFrame]") -> None:
    """Print how images without attack fare, those the threshold was fitted on and others."""
    import numpy as np
    import polars as pl

    from trustseg.cli.display import print_table
    from trustseg.statistics import bootstrap_mean

    lines = []
    for side, table in found.items():
        kept = ~policy.review(table[policy.column].to_numpy())
        harm = table.with_columns(pl.Series("failed", kept & (table["dice"].to_numpy() < policy.tau), dtype=pl.Float64))
        shares = harm.group_by("patient", maintain_order=True).agg(pl.mean("failed"))
        rate = bootstrap_mean(shares["failed"], shares["patient"]).text(3)
        dice = table["dice"].to_numpy()
        means = [np.nanmean(values) if (~np.isnan(values)).any() else np.nan for values in (dice, dice[kept])]
        shown = [f"{number:.3f}" for number in (kept.mean(), *means)]
        lines.append([f"{side}, noisy", f"{table['image'].n_unique()}", *shown, rate])
    header = ("images without attack", "images", "kept", "Dice", "Dice of kept", "undetected failures")
    print_table(header, lines, width=130)


def _print_bounds(policy: "CertifiedPolicy") -> None:
    """Print what the same policy promises at other radii."""
    from trustseg.cli.display import print_table
    from trustseg.deferral.certified_policy import grey_levels

    radii = sorted({factor * policy.radius for factor in _FACTORS})
    lines = [
        [
            f"{radius:.4g}",
            f"{grey_levels(radius, policy.size, policy.channels):.3g}",
            f"{policy.bound(radius):.3f}",
        ]
        for radius in radii
    ]
    print_table(("L2 radius", "grey levels of 255 everywhere", "undetected failures at most"), lines, width=100)
