"""``trustseg evaluate``: measure one model or mixture."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustseg.cli.display import note, print_table, say
from trustseg.cli.options import (
    AllowSeen,
    Keys,
    Members,
    Model,
    Settings,
    Uncalibrated,
    home_of,
    output_option,
    sets_fold,
    settings_of,
)
from trustseg.cli.progress import progress_of
from trustseg.errors import TrustsegError

if TYPE_CHECKING:
    import polars as pl

    from trustseg.config import RunConfig
    from trustseg.data import Pack
    from trustseg.data.splits import Indices
    from trustseg.data.training_record import TrainingRecord
    from trustseg.evaluation import Surrogate
    from trustseg.models import BeliefModel

__all__ = ["evaluate"]

_UNDEFINED = "—"
_CLEAN_ONLY = (
    *("evaluation.attacks=[]", "evaluation.shifts=[]", "evaluation.populations={}"),
    *("evaluation.minimal.tau=null", "evaluation.masking_checks=0"),
)


def evaluate(
    model: Model,
    settings: Settings = None,
    output: Annotated[
        Path | None,
        output_option(
            "Folder to write. Default: evaluation-SPLIT next to MODEL (for other data, evaluation-SPLIT-DATA)."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Images to use: test, validation, train, control or all.")] = "test",
    allow_training_patients: AllowSeen = False,
    ensemble: Members = None,
    mc_dropout: Annotated[int | None, typer.Option("--mc-dropout", min=1, help="Number of MC dropout samples.")] = None,
    dropout: Annotated[
        float | None,
        typer.Option("--dropout", help="Dropout rate for --mc-dropout on a model trained without dropout, e.g. 0.2."),
    ] = None,
    uncalibrated: Uncalibrated = False,
    keys: Keys = False,
) -> None:
    """Evaluate a model, clean and under attack; writes records.parquet and pixel histograms, prints a summary.

    Settings default to those of the model's own run. Of other data (data.path), their own test side is used, or all
    images where they have none, unless data.fold is given. Images of patients that the model was trained or validated
    on are refused. If the model is calibrated, the calibration is applied. Validation images, for choosing scores and
    fitting policies, are measured clean unless the settings say otherwise.
    """
    from trustseg.evaluation import load_model

    members = [model, *(ensemble or [])]
    loaded = load_model(model, ensemble=members[1:], samples=mc_dropout, dropout=dropout, uncalibrated=uncalibrated)
    defaults = _CLEAN_ONLY if split == "validation" else ()
    config = settings_of(model, loaded.spec, settings, usual=defaults)

    from trustseg.cli.checks import require_attacks
    from trustseg.cli.images import images_of, say_notes
    from trustseg.config.loading import data_of_run
    from trustseg.data.training_record import read_training_record
    from trustseg.evaluation import is_other_data, population_of, rows_of_split, suffix_of
    from trustseg.study.surrogates import given_surrogate
    from trustseg.training.provenance import prepare_run

    pack = images_of(config.data, model=model)
    for path in config.evaluation.populations.values():
        say_notes(population_of(path, pack)[0])
    trained = data_of_run(model)
    training_path = None if trained is None else trained.path
    is_other = is_other_data(read_training_record(model), pack, config.data.path, training_path)
    if is_other and not sets_fold(settings):
        config = config.model_copy(update={"data": config.data.model_copy(update={"fold": None})})
    is_other &= config.data.fold is None
    rows = rows_of_split(pack, split, config.data, count=config.evaluation.images, other=is_other)
    if is_other:
        _say_used(pack, rows, split)
    validated = _validated(members, pack, rows, split=split, allow_training_patients=allow_training_patients)
    data = [] if validated is not None else [Path(str(config.data.path)).absolute().name]
    suffix = suffix_of(loaded)
    home = home_of(model)
    folder = output or home / ("-".join(["evaluation", split, *data]) + suffix)
    surrogate_path = config.evaluation.surrogate
    surrogate = None if surrogate_path is None else given_surrogate(surrogate_path)
    require_attacks([config])
    prepare_run(config, pack, folder)
    name = home.absolute().name + suffix
    labels = {"cell": name, "variant": name, "head": loaded.spec.head, "split": split}
    calibration_rows = validated if validated is not None and len(validated) else None
    _measure(loaded, pack, rows, config, folder, calibration_rows=calibration_rows, labels=labels, surrogate=surrogate)
    _print_means(folder)
    say(f"records: {folder / 'records.parquet'}")
    if split == "test" and validated is not None and output is None and suffix in ("", "-calibrated"):
        say(f"next: trustseg defer compare {home}, trustseg defer fit {home}, trustseg report {home}")


def _say_used(pack: "Pack", rows: "Indices", split: str) -> None:
    """Say which of the images of another data set than that of the training are used."""
    sides = set(pack.index.filter(pack.index["has_mask"])["split"])
    more = "; --split all uses train, too" if split == "test" and sides >= {"train", "test"} else ""
    note(
        f"not the data of the training, whose fold does not apply: {len(rows):,} of {len(pack):,} images are "
        f"used ({split}{more})"
    )


def _measure(
    model: "BeliefModel",
    pack: "Pack",
    rows: "Indices",
    config: "RunConfig",
    folder: Path,
    *,
    calibration_rows: "Indices | None",
    labels: dict[str, str],
    surrogate: "Surrogate | None",
) -> None:
    """Measure all that the settings ask for, each part with its progress bar."""
    from trustseg.evaluation import evaluate as run_evaluation
    from trustseg.evaluation import measure_of, write_gallery, write_masking_checks, write_minimal
    from trustseg.evaluation.masking_checks import CHECKS
    from trustseg.models import device_of

    settings, seed, device = config.evaluation, config.training.seed, device_of(config.training.accelerator)
    with progress_of("evaluating", each=True) as report:
        run_evaluation(
            model,
            pack,
            rows,
            settings,
            folder,
            calibration_rows=calibration_rows,
            labels=labels,
            seed=seed,
            device=device,
            report=report,
        )
    searched = settings.minimal.tau is not None
    with progress_of("searching for the smallest budgets") if searched else nullcontext(None) as search:
        write_minimal(model, pack, rows, settings, folder, device=device, report=search)
    count = settings.masking_checks
    with progress_of("checking for masked gradients") if count else nullcontext(None) as checks:
        checked = None if checks is None else lambda done: checks(done, len(CHECKS))
        write_masking_checks(
            model, pack, rows, folder, count=count, seed=seed, device=device, surrogate=surrogate, report=checked
        )
    write_gallery(
        model,
        pack,
        rows,
        settings,
        folder / "gallery.npz",
        eps=config.adversarial.eps,
        measure=measure_of(model, config.adversarial.measure),
        seed=seed,
        device=device,
    )


def _validated(
    members: list[Path], pack: "Pack", rows: "Indices", *, split: str, allow_training_patients: bool
) -> "Indices | None":
    """Check whom the members have seen; return the images that all were validated on, None if these are other data."""
    import numpy as np

    from trustseg.data.training_record import read_training_record, require_no_leakage, validation_rows

    validated: Indices | None = None
    is_own_data = True
    for member in members:
        seen = read_training_record(member)
        if seen is None:
            note(f"no splits.json in '{member}': cannot check which patients the model has seen")
        elif not allow_training_patients:
            require_no_leakage(seen, pack, rows, validated=split == "validation")
            if seen.digest != pack.digest:
                _require_no_copies(member, seen, pack, rows)
        if seen is None or seen.digest != pack.digest:
            is_own_data = False
        else:
            own = validation_rows(seen, pack)
            validated = own if validated is None else np.intersect1d(validated, own)
    return validated if is_own_data else None


def _require_no_copies(model: Path, seen: "TrainingRecord", pack: "Pack", rows: "Indices") -> None:
    """Refuse near-copies of what a model has seen in other data, where the images of its training are at hand."""
    from trustseg.config import open_images
    from trustseg.config.loading import data_of_run
    from trustseg.data.training_record import require_no_near_copies

    data = data_of_run(model)
    try:
        with progress_of("opening the images of the training") as progress:
            trained = None if data is None or data.path is None else open_images(data, progress=progress)
    except TrustsegError:
        trained = None
    if trained is None or trained.digest != seen.digest:
        note(
            "equal images and patients of the training are refused, but its near-copies cannot be found: its "
            f"images are not at hand, and '{model}' holds their hashes alone"
        )
    else:
        require_no_near_copies(seen, trained, pack, rows)


def _mean(values: "pl.Series") -> str:
    """Return the mean of the values that are defined, as it is shown."""
    import polars as pl

    defined = values.cast(pl.Float64).drop_nans().drop_nulls()
    return f"{defined.to_numpy().mean():.3f}" if len(defined) else _UNDEFINED


def _print_means(folder: Path) -> None:
    import polars as pl

    from trustseg.metrics import dice_from_counts
    from trustseg.records import read_records

    records = read_records(folder / "records.parquet")
    header = (
        *("condition", "eps x 255", "images", "Dice (per image)", "at native size", "IoU (per image)", "pooled Dice"),
        "area without foreground",
    )
    lines: list[list[str]] = []
    for (condition, eps), rows in records.group_by("condition", "eps", maintain_order=True):
        targets, empty = rows.filter(pl.col("mask_px") > 0), rows.filter(pl.col("mask_px") == 0)
        pixels = rows.drop_nulls("mask_px").select("intersection_px", "predicted_px", "mask_px").sum().to_numpy()[0]
        values = [_mean(targets[name]) for name in ("dice", "dice_native", "iou")]
        values.append(f"{float(dice_from_counts(*pixels)):.3f}" if len(targets) else _UNDEFINED)
        values.append(_mean(empty["predicted_px"] / empty["pixels"]))
        lines.append([_with_steps(str(condition)), f"{float(str(eps)) * 255:g}", str(len(rows)), *values])
    print_table(header, lines, width=140)
    _say_compared(records.filter(pl.col("kind") == "clean"))


def _say_compared(clean: "pl.DataFrame") -> None:
    """Say what the table of means is about: size of the images, and which of them enter which column."""
    areas = clean["mask_px"].drop_nulls()
    targets, empty = int((areas > 0).sum()), int((areas == 0).sum())
    controls, unknown = (int((clean["reference"] == kind).sum()) for kind in ("control", "none"))
    size, of_them = clean["size"][0], f", {controls:,} of them controls" if controls else ""
    say(
        f"measured at {size} x {size} px; Dice and IoU over {targets:,} images with foreground, area over {empty:,} "
        f"without{of_them}"
    )
    if unknown:
        say(f"{unknown:,} of {len(clean):,} images have no reference mask and are not compared")


def _with_steps(condition: str) -> str:
    """Return the name of a condition with the number of steps of PGD, which the files leave out where it is usual.

    Example:
        >>> _with_steps("pgd_l2"), _with_steps("pgd100_margin"), _with_steps("r_fgsm")
        ('pgd20_l2', 'pgd100_margin', 'r_fgsm')
    """
    name, *details = condition.split("_")
    return "_".join(["pgd20" if name == "pgd" else name, *details])
