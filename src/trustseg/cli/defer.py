"""``trustseg defer``: fit a policy that sends unsure images to a human, and apply it as it is."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustseg.cli.display import say

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ONLY_CLEAN", "app"]

app = typer.Typer(no_args_is_help=True, help="Fit and apply deferral policies: which images a human should review.")

_SHARES = ("coverage", "review_rate", "residual_risk", "undetected_failures", "missed_lesions", "false_alarms")

ONLY_CLEAN = (
    "The guarantee holds for clean images of new patients like those of the calibration split. "
    "It is void under attack or shift, and for other populations."
)


@app.command()
def fit(
    records: Annotated[
        Path, typer.Argument(help="Run folder, or the folder written by 'trustseg evaluate --split validation'.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Policy file to write.")] = Path("policy.json"),
    target: Annotated[str, typer.Option(help="Rate to bound: review_rate, risk or missed_lesions.")] = "review_rate",
    at_most: Annotated[float, typer.Option(help="Upper bound of the rate, e.g. 0.2.")] = 0.2,
    measure: Annotated[str, typer.Option(help="Pixel measure of uncertainty.")] = "entropy",
    aggregation: Annotated[str, typer.Option(help="How the map becomes an image score.")] = "soft_dice_confidence",
    tau: Annotated[float, typer.Option(help="Segmentations with a Dice below this count as failed.")] = 0.5,
    delta: Annotated[
        float, typer.Option(help="Probability that the bound on risk or missed_lesions is violated.")
    ] = 0.05,
) -> None:
    """Fit a deferral policy on the clean images of a calibration split; writes it and prints its guarantee."""
    import polars as pl

    from trustseg.cli.checks import require_score
    from trustseg.deferral import TARGETS, fit_policy, save_policy
    from trustseg.deferral.policy import NEEDED
    from trustseg.errors import DataError, unknown_name
    from trustseg.former_names import current_aggregation
    from trustseg.records import read_records

    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    aggregation = current_aggregation(aggregation)
    require_score(measure, aggregation)
    file = _file(records, calibration=True)
    table = read_records(file, required=NEEDED)
    splits = table.get_column("split", default=pl.Series([])).to_list()
    for split in ("test", "train"):
        if split in splits:
            raise DataError(
                f"'{records}' holds records of the {split} split, on which no policy may be fitted; give those of "
                "'trustseg evaluate MODEL --split validation'"
            )
    policy = fit_policy(
        table,
        measure=measure,
        aggregation=aggregation,
        target=target,  # type: ignore[arg-type]  # one of the targets, see above
        at_most=at_most,
        tau=tau,
        delta=delta,
        model=_model_of(file),
    )
    save_policy(policy, output)
    say(policy.statement)
    say(ONLY_CLEAN)
    rule = (
        f"review where {measure} ({aggregation}) > {policy.threshold:.6g}; " if math.isfinite(policy.threshold) else ""
    )
    say(f"{rule}policy: {output}")


@app.command()
def apply(
    policy: Annotated[Path, typer.Argument(help="Policy written by 'trustseg defer fit'.")],
    records: Annotated[Path, typer.Argument(help="Run folder, or a folder with records.parquet.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the tables. Default: beside the records.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Bootstrap draws over patients.")] = 2000,
) -> None:
    """Apply a policy to every condition; writes deferral.csv (rates) and decisions.csv (one row per image)."""
    from trustseg.cli.progress import progress_of
    from trustseg.deferral import VOID, apply_policy, check_model, load_policy
    from trustseg.deferral.policy import NEEDED
    from trustseg.records import read_records
    from trustseg.study.deferral import score_policy
    from trustseg.tables import write_csv

    frozen = load_policy(policy)
    file = _file(records, calibration=False)
    table = read_records(file, required=NEEDED)
    check_model(frozen, _model_of(file))
    with progress_of("conditions") as report:
        scores = score_policy(frozen, table, draws=draws, report=report)
    decisions = apply_policy(frozen, table)
    folder = output or file.parent
    columns = ("image", "patient", "condition", "eps", "dice", frozen.column, "review", "guarantee")
    for name, content in (("deferral", scores), ("decisions", decisions.select(columns))):
        write_csv(content, folder / f"{name}.csv")
    _print_scores(scores)
    say(frozen.statement)
    say(ONLY_CLEAN)
    void = scores.filter(scores["guarantee"] == VOID)["condition"].unique(maintain_order=True).to_list()
    if void:
        say(f"guarantee void for: {', '.join(void)}")
    if "clean" in void:
        clean = decisions.filter(decisions["condition"] == "clean")
        seen = clean.filter(clean["guarantee"] == VOID)["patient"].n_unique()
        say(
            f"{seen} of {clean['patient'].n_unique()} clean patients are calibration or training patients; apply the "
            "policy to others"
        )
    say(f"tables: {folder / 'deferral.csv'}, {folder / 'decisions.csv'}")


def _print_scores(scores: "pl.DataFrame") -> None:
    from trustseg.cli.display import print_table

    lines = []
    for (condition, eps), group in scores.group_by("condition", "eps", maintain_order=True):
        found = {row["score"]: row for row in group.iter_rows(named=True)}
        shares = []
        for name in _SHARES:
            value, low, high = (float(found[name][end]) for end in ("value", "low", "high"))
            ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
            shares.append("undefined" if math.isnan(value) else f"{value:.3f}{ends}")
        row = found["coverage"]
        promise = "void" if row["guarantee"] == "void" else "holds"
        lines.append([str(condition), f"{float(str(eps)) * 255:g}", str(row["images"]), *shares, promise])
    header = ("condition", "eps x 255", "images", *(name.replace("_", " ") for name in _SHARES), "guarantee")
    print_table(header, lines, width=200)


def _model_of(records: Path) -> str:
    """Return the hash of the model that records are of, empty where nothing beside them says it."""
    from trustseg.files import read_json

    about = records.with_name("evaluation.json")
    return str(read_json(about).get("model", "")) if about.is_file() else ""


def _file(folder: Path, *, calibration: bool) -> Path:
    """Return the records that a folder means: its own, or those of the split that a run was evaluated on.

    Where the model of a run is calibrated, the records of the calibrated one are meant, and a policy is fitted on no
    others. A run's own records are of its test images, on which no policy may be fitted either.

    Raises:
        MissingFileError: if there are none.
    """
    from trustseg.calibration import CALIBRATION_FILE
    from trustseg.errors import MissingFileError

    if folder.is_file():
        raise MissingFileError(f"'{folder}' is a file; give the folder '{folder.parent}'")
    split = "validation" if calibration else "test"
    model = folder / "model"
    plain, calibrated = (folder / f"evaluation-{split}{suffix}" for suffix in ("", "-calibrated"))
    command = f"'trustseg evaluate {model if model.is_dir() else 'MODEL'}{' --split validation' * calibration}'"
    is_calibrated = (model / CALIBRATION_FILE).is_file()
    places = [calibrated] if is_calibrated else []
    if not (calibration and is_calibrated):
        places.append(plain)
    if not (calibration and model.is_dir()):
        places.append(folder)
    for place in places:
        if (place / "records.parquet").is_file():
            return place / "records.parquet"
    if is_calibrated and calibration:
        earlier = f", or give '{plain}' for the model without its calibration" if plain.is_dir() else ""
        raise MissingFileError(
            f"'{model}' is calibrated, but '{calibrated}' does not exist; write it with {command}{earlier}"
        )
    raise MissingFileError(
        f"no records.parquet in '{folder}' or its evaluation-{split}; "
        + (f"give '{calibrated}', or write it with {command}" if calibrated.is_dir() else f"write it with {command}")
    )
