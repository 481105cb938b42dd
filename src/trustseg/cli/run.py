"""``trustseg train``, ``evaluate`` and ``predict``: one model."""

import math
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trustseg.config import RunConfig
    from trustseg.data import Pack
    from trustseg.data.splits import Indices
    from trustseg.models.segmenter import SegmenterSpec

__all__ = ["evaluate", "home_of", "predict", "settings_of", "train"]

SETTINGS_HELP = "YAML file and/or key=value settings, e.g. model.head=beta adversarial.eps=4/255 (keys: --keys)."


def _show_keys(wanted: bool) -> None:
    """Print every configuration key with default, range and meaning."""
    if not wanted:
        return
    from trustseg.cli.display import print_table
    from trustseg.config import describe_keys

    print_table(("key", "default", "allowed", "meaning"), describe_keys(), width=180)
    raise typer.Exit


KEYS = typer.Option("--keys", callback=_show_keys, is_eager=True, help="List every key with its default and exit.")


def split_settings(settings: list[str] | None) -> tuple[Path | None, list[str]]:
    """Return the YAML file among the settings, if any, and the key=value ones.

    Raises:
        ConfigError: if there are two files.
    """
    from trustseg.errors import ConfigError

    files = [Path(text) for text in settings or [] if "=" not in text]
    if len(files) > 1:
        raise ConfigError(f"got {len(files)} files ({', '.join(map(str, files))}), at most one was expected; drop one")
    return (files[0] if files else None), [text for text in settings or [] if "=" in text]


def train(
    settings: Annotated[list[str] | None, typer.Argument(help=SETTINGS_HELP)] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder. Default: runs/NAME.")] = None,
    keys: Annotated[bool, KEYS] = False,
) -> None:
    """Train one model; started again, it goes on from its last epoch. Writes OUTPUT/model."""
    from trustseg.cli.checks import require_models, require_splits
    from trustseg.config import load_run
    from trustseg.data import open_dataset
    from trustseg.errors import ConfigError

    file, overrides = split_settings(settings)
    config = load_run(file, overrides)
    if config.data.path is None:
        raise ConfigError("no images are named; a dataset folder or a pack was expected; set data.path=FOLDER")
    folder = output or Path("runs") / (file.stem if file else "train")
    require_models([config])
    pack = open_dataset(config.data.path, size=config.data.size, channels=config.data.channels)
    require_splits([config], pack)

    from trustseg.study.cell import claimed
    from trustseg.training import train as run_training
    from trustseg.training.run import prepare_run

    # Lightning starts the other processes of a multi-device run with this same command; the first one owns the folder.
    first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    with claimed(folder) if first else nullcontext(True) as mine:
        if not mine:
            raise ConfigError(
                f"another process trains in '{folder}', nobody was expected; wait or give another --output"
            )
        if first:
            prepare_run(config, pack, folder)
        bars = sys.stderr.isatty()
        run_training(config, pack, folder, progress=bars, report=None if bars else _epoch_line)
    if first:
        typer.echo(f"model: {folder / 'model'}")


def _epoch_line(done: int, total: int) -> None:
    sys.stderr.write(f"epoch {done} of {total}\n")


def settings_of(model: Path, spec: "SegmenterSpec", settings: list[str] | None) -> "RunConfig":
    """Return the settings for a trained model: those of its own run unless a YAML file is given, then KEY=VALUE ones.

    Raises:
        ConfigError: if no images are named, or a setting is wrong.
        ModelError: if the settings want another head than the model has.
    """
    from trustseg.config import load_run
    from trustseg.errors import ConfigError
    from trustseg.models import Segmenter

    file, overrides = split_settings(settings)
    own = home_of(model) / "config.yaml"
    built = [f"data.size={spec.size}", f"data.channels={spec.channels}"]
    config = load_run(file or (own if own.is_file() else None), [*built, *overrides])
    if config.data.path is None:
        lacking = "" if file or own.is_file() else f", as '{own}' is not beside the model"
        raise ConfigError(
            f"no images are named{lacking}; a dataset folder or a pack was expected; "
            "set data.path=FOLDER, and data.fold as in training, or give the run's config.yaml"
        )
    if "head" in config.model.model_fields_set:
        Segmenter.load(model, head=config.model.head)
    return config


def home_of(model: Path) -> Path:
    """Return the folder of the run that a model's folder lies in."""
    return model.parent if model.name else model.absolute().parent


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model folder written by train or study.")],
    settings: Annotated[list[str] | None, typer.Argument(help=SETTINGS_HELP)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: MODEL/../evaluation-SPLIT, of other data evaluation-SPLIT-DATA."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which images: test, validation, train, control or all.")] = "test",
    allow_training_patients: Annotated[
        bool, typer.Option("--allow-training-patients", help="Also measure on patients that the model has seen.")
    ] = False,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option("--ensemble", help="Another member of a deep ensemble with MODEL; may be given more than once."),
    ] = None,
    mc_dropout: Annotated[
        int | None, typer.Option("--mc-dropout", min=1, help="Sample MODEL through its dropout, so many times.")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option("--dropout", help="Rate of a dropout layer placed for --mc-dropout, e.g. 0.2.")
    ] = None,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Leave the calibration beside the model aside.")
    ] = False,
    keys: Annotated[bool, KEYS] = False,
) -> None:
    """Measure a model, clean and under attack; writes records.parquet and pixel histograms, prints a small table.

    Without a YAML file the settings are those of the model's own run, so that it is not tested on what it learned from.
    Images of patients that it was trained or validated on are refused. A calibrated model is measured calibrated.
    """
    from trustseg.evaluation import load_model

    members = [model, *(ensemble or [])]
    loaded = load_model(model, ensemble=members[1:], samples=mc_dropout, dropout=dropout, uncalibrated=uncalibrated)
    config = settings_of(model, loaded.spec, settings)

    from trustseg.cli.display import counted
    from trustseg.data import open_dataset
    from trustseg.evaluation import conditions_of, rows_of_split, suffix_of, write_minimal, write_suspicions
    from trustseg.evaluation import evaluate as run_evaluation
    from trustseg.evaluation.suspicions import CHECKS
    from trustseg.study.cell import device_of
    from trustseg.study.surrogates import given_surrogate
    from trustseg.training.run import prepare_run

    pack = open_dataset(str(config.data.path), size=config.data.size, channels=config.data.channels)
    rows = rows_of_split(pack, split, config.data)
    validated = _validated(members, pack, rows, split=split, allow_training_patients=allow_training_patients)
    data = [] if validated is not None else [Path(str(config.data.path)).absolute().name]
    folder = output or home_of(model) / ("-".join(["evaluation", split, *data]) + suffix_of(loaded))
    lender = config.evaluation.surrogate
    surrogate = None if lender is None else given_surrogate(lender)
    prepare_run(config, pack, folder)
    name = home_of(model).absolute().name + suffix_of(loaded)
    seed, device = config.training.seed, device_of(config.training.accelerator)
    with counted("evaluating", len(conditions_of(config.evaluation))) as report:
        run_evaluation(
            loaded,
            pack,
            rows,
            config.evaluation,
            folder,
            calibration_rows=validated if validated is not None and len(validated) else None,
            labels={"cell": name, "variant": name, "head": loaded.spec.head, "split": split},
            seed=seed,
            device=device,
            report=lambda done, total: report(done),
        )
    batches = -(-len(rows) // config.evaluation.batch_size)
    searched = config.evaluation.minimal.tau is not None
    with counted("searching for the smallest budgets", batches) if searched else nullcontext(None) as search:
        write_minimal(
            loaded,
            pack,
            rows,
            config.evaluation,
            folder,
            device=device,
            report=None if search is None else lambda done, total: search(done),
        )
    count = config.evaluation.suspicions
    with counted("checking for masked gradients", len(CHECKS)) if count else nullcontext(None) as checked:
        write_suspicions(
            loaded, pack, rows, folder, count=count, seed=seed, device=device, surrogate=surrogate, report=checked
        )
    _print_means(folder)
    typer.echo(f"records: {folder / 'records.parquet'}")


def _validated(
    members: list[Path], pack: "Pack", rows: "Indices", *, split: str, allow_training_patients: bool
) -> "Indices | None":
    """Check whom the members have seen; return the images that all were validated on, None if these are other data.

    Raises:
        DataError: if a member has seen one of the patients of ``rows`` and that is not allowed.
    """
    import numpy as np

    from trustseg.data.seen import require_unseen, seen_by, validation_rows

    validated: Indices | None = None
    is_own_data = True
    for member in members:
        seen = seen_by(member)
        if seen is None:
            typer.echo(f"note: no splits.json in '{member}': it could not be checked whom the model has seen", err=True)
        elif not allow_training_patients:
            known = seen.patients - seen.validation if split == "validation" else seen.patients
            require_unseen(replace(seen, patients=known), pack, rows)
        if seen is None or seen.digest != pack.digest:
            is_own_data = False
        else:
            own = validation_rows(seen, pack)
            validated = own if validated is None else np.intersect1d(validated, own)
    return validated if is_own_data else None


def _mean(values: list[float | None]) -> float | None:
    """Return the mean of the values that are defined; None if none is."""
    defined = [value for value in values if value is not None and not math.isnan(value)]
    return sum(defined) / len(defined) if defined else None


def _print_means(folder: Path) -> None:
    import polars as pl

    from trustseg.cli.display import print_table

    records = pl.read_parquet(folder / "records.parquet")
    header = ("condition", "eps x 255", "images", "Dice (per image)", "IoU (per image)", "pooled Dice")
    lines: list[list[str]] = []
    for (condition, eps), rows in records.group_by("condition", "eps", maintain_order=True):
        known = rows.drop_nulls("mask_px")  # of other populations no reference is known
        both, predicted, reference = (int(known[f"{name}_px"].sum()) for name in ("intersection", "predicted", "mask"))
        values = [_mean(rows[name].to_list()) for name in ("dice", "iou")]
        values.append(2 * both / (predicted + reference) if predicted + reference else None)
        shown = ["undefined" if value is None else f"{value:.3f}" for value in values]
        lines.append([_with_steps(str(condition)), f"{float(str(eps)) * 255:g}", str(len(rows)), *shown])
    print_table(header, lines, width=100)


def _with_steps(condition: str) -> str:
    """Return the name of a condition with the number of steps of PGD, which the files leave out where it is usual.

    Example:
        >>> _with_steps("pgd_l2"), _with_steps("pgd100"), _with_steps("fgsm")
        ('pgd20_l2', 'pgd100', 'fgsm')
    """
    name, *details = condition.split("_")
    return "_".join(["pgd20" if name == "pgd" else name, *details])


def predict(
    model: Annotated[Path, typer.Argument(help="Model folder written by train or study.")],
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")] = Path("predictions"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the predictions that the folder holds.")
    ] = False,
    measure: Annotated[str, typer.Option(help="Pixel measure of uncertainty, e.g. entropy, vacuity.")] = "entropy",
    aggregation: Annotated[str, typer.Option(help="Map to image score, e.g. mean, quantile_mean.")] = "mean",
    policy: Annotated[
        Path | None, typer.Option(help="Policy of 'trustseg defer fit'; its measure and aggregation are used.")
    ] = None,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Leave the calibration beside the model aside.")
    ] = False,
) -> None:
    """Write masks, uncertainty maps and a CSV of image scores, the least sure image first. Research use only."""
    from trustseg.cli.defer import ONLY_CLEAN
    from trustseg.cli.display import counted
    from trustseg.deferral import load_policy
    from trustseg.errors import unknown_name
    from trustseg.evaluation import load_model
    from trustseg.evaluation.predict import image_files_of
    from trustseg.evaluation.predict import predict as run_prediction
    from trustseg.study.cell import device_of
    from trustseg.uncertainty import AGGREGATIONS, MEASURES

    frozen = None if policy is None else load_policy(policy)
    if frozen is not None:
        measure, aggregation = frozen.measure, frozen.aggregation
    if measure not in MEASURES:
        raise unknown_name("measure", measure, MEASURES)
    if aggregation not in AGGREGATIONS:
        raise unknown_name("aggregation", aggregation, AGGREGATIONS)
    loaded = load_model(model, uncalibrated=uncalibrated)
    files = image_files_of(images)
    with counted("predicting", len(files)) as report:
        table = run_prediction(
            loaded,
            files,
            output,
            overwrite=overwrite,
            measure=measure,
            aggregation=aggregation,
            policy=frozen,
            device=device_of("auto"),
            report=report,
        )
    if frozen is not None:
        typer.echo(frozen.statement)
        typer.echo(ONLY_CLEAN)
    typer.echo(f"masks and uncertainty maps: {table.parent}\nscores: {table}")
