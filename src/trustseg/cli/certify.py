"""``trustseg defer certify``: a policy whose undetected failures stay rare under every attack within a radius."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trustseg.cli.deferring import limits_of, score_of, sides_of
from trustseg.cli.display import note, print_table, say
from trustseg.cli.options import Aggregation, Keys, Measure, Model, Settings, Tau, Uncalibrated, home_of, output_option

if TYPE_CHECKING:
    import polars as pl

    from trustseg.deferral import CertifiedPolicy
    from trustseg.models import BeliefModel

__all__ = ["certify"]

_FACTORS: Final = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)  # of the radius, at which the bound is printed


def certify(
    model: Model,
    settings: Settings = None,
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
    tau: Tau = 0.5,
    measure: Measure = "entropy",
    aggregation: Aggregation = "soft_dice_confidence",
    draws: Annotated[
        int, typer.Option(min=1, help="Noisy draws of each calibration image; with 16 or more the bound is sharper.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise of the calibration images.")] = 0,
    output: Annotated[Path | None, output_option("File to write. Default: certified.json next to MODEL.")] = None,
    uncalibrated: Uncalibrated = False,
    keys: Keys = False,
) -> None:
    """Fit a deferral policy whose guarantee survives attacks within a radius, on validation images; try it on others.

    It decides on one noisy draw of each image. Apply it with 'trustseg predict --policy'.
    """
    from trustseg.cli.progress import progress_of
    from trustseg.deferral import fit_certified_policy, save_policy
    from trustseg.deferral.certified import require_patients
    from trustseg.evaluation import load_model
    from trustseg.evaluation.loading import hash_of_model
    from trustseg.evaluation.noisy import noisy_records
    from trustseg.models import device_of

    measure, aggregation = score_of(measure, aggregation)
    loaded = load_model(model, uncalibrated=uncalibrated)
    sides = sides_of(model, loaded.spec, settings)
    patients = sides.pack.index["patient"].gather(sides.validation.tolist()).n_unique()
    # Before anything takes time:
    require_patients(patients, at_most=at_most, radius=radius, noise=noise, delta=delta, draws=draws)
    _note_limits(trained=sides.config.training.noise, noise=noise, model=loaded)
    found = {}
    for side, rows in (("validation", sides.validation), ("test", sides.test)):
        with progress_of(f"predicting ({side})") as report:
            found[side] = noisy_records(
                loaded,
                sides.pack,
                rows,
                noise=noise,
                seed=seed,
                measure=measure,
                aggregation=aggregation,
                draws=draws,
                device=device_of("auto"),
                report=report,
            )
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
    save_policy(policy, file)
    _print_policy(policy, found)
    say(f"policy: {file}; next: trustseg predict {model} IMAGES --policy {file}")


def _note_limits(*, trained: float, noise: float, model: "BeliefModel") -> None:
    """Say what makes the policy worse than it could be, or its promise optimistic."""
    from trustseg.calibration import Calibrated

    if trained != noise:
        note(
            f"the model was trained with training.noise={trained:g}, not {noise:g}; expect a lower Dice and "
            "fewer kept images than from one that was"
        )
    if isinstance(model, Calibrated) and model.calibration.split == "validation":
        note(
            "the model was calibrated on the validation images, on which the policy is fitted as well, so its "
            "promise is optimistic. Certify with --uncalibrated, or calibrate on other patients"
        )


def _print_policy(policy: "CertifiedPolicy", tables: "dict[str, pl.DataFrame]") -> None:
    """Print how images without attack fare, those the threshold was fitted on and others, and what is promised."""
    import numpy as np
    import polars as pl

    from trustseg.deferral.certified import grey_levels
    from trustseg.statistics import bootstrap_mean

    lines = []
    for side, table in tables.items():
        kept = ~policy.review(table[policy.column].to_numpy())
        harm = table.with_columns(pl.Series("failed", kept & (table["dice"].to_numpy() < policy.tau), dtype=pl.Float64))
        shares = harm.group_by("patient", maintain_order=True).agg(pl.mean("failed"))
        rate = bootstrap_mean(shares["failed"], shares["patient"]).text(3)
        dice = table["dice"].to_numpy()
        means = [np.nanmean(values) if (~np.isnan(values)).any() else np.nan for values in (dice, dice[kept])]
        cells = [f"{number:.3f}" for number in (kept.mean(), *means)]
        lines.append([f"{side}, noisy", f"{table['image'].n_unique()}", *cells, rate])
    header = ("images without attack", "images", "kept", "Dice", "Dice of kept", "undetected failures")
    print_table(header, lines, width=130)
    bounds = [
        (f"{radius:.4g}", f"{grey_levels(radius, policy.size, policy.channels):.3g}", f"{policy.bound(radius):.3f}")
        for radius in sorted({factor * policy.radius for factor in _FACTORS})
    ]
    print_table(("L2 radius", "grey levels of 255 everywhere", "undetected failures at most"), bounds, width=100)
    say(policy.statement)
    say(limits_of(policy))
    if not policy.kept:
        say("no calibration image is kept: under this noise the model fails where it looks surest")
