"""``trustseg defer``: compare image scores, fit a policy that sends uncertain images to a human, and apply it."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trustseg.cli.deferring import calibration_records, home_of_records, limits_of, score_of, tested_records
from trustseg.cli.display import note, print_table, say
from trustseg.cli.options import Aggregation, Draws, Measure, Tau, output_option

if TYPE_CHECKING:
    import polars as pl

    from trustseg.deferral.exchangeability import Exchangeability

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Fit and apply deferral policies: which images a human should review.")

Records = Annotated[
    Path, typer.Argument(help="Run folder or study cell, or a folder of 'trustseg evaluate --split validation'.")
]

_SHARES = ("coverage", "review_rate", "residual_risk", "undetected_failures", "missed_lesions", "false_alarms")


@app.command()
def fit(
    records: Records,
    output: Annotated[Path, output_option("Policy file to write.")] = Path("policy.json"),
    target: Annotated[
        Literal["review_rate", "risk", "missed_lesions"],
        typer.Option(help="Rate to bound: review_rate, risk or missed_lesions."),
    ] = "review_rate",
    at_most: Annotated[float, typer.Option(help="Upper bound of the rate, e.g. 0.2.")] = 0.2,
    measure: Measure = "entropy",
    aggregation: Aggregation = "soft_dice_confidence",
    tau: Tau = 0.5,
    delta: Annotated[
        float, typer.Option(help="Probability that the bound on risk or missed_lesions is violated.")
    ] = 0.05,
    by: Annotated[
        str | None,
        typer.Option(
            help="Column of the manifest: fit a policy for each of its values, so that the bound holds in each."
        ),
    ] = None,
) -> None:
    """Fit a deferral policy on the clean images of a calibration split; writes it and prints its guarantee."""
    from trustseg.deferral import fit_policy, save_policy
    from trustseg.deferral.policy import NEEDED
    from trustseg.records import model_of

    measure, aggregation = score_of(measure, aggregation)
    file, table = calibration_records(records, NEEDED)
    policies = {
        place: fit_policy(
            table,
            measure=measure,
            aggregation=aggregation,
            target=target,
            at_most=at_most,
            tau=tau,
            delta=delta,
            model=model_of(file),
            group=group,
        )
        for place, group in _places(output, table, by).items()
    }
    for place, policy in policies.items():
        save_policy(policy, place)
        say(policy.statement)
        say(limits_of(policy))
        score = f"{measure} ({aggregation}) > {policy.threshold:.6g}"
        say(f"{f'review where {score}; ' if math.isfinite(policy.threshold) else ''}policy: {place}")
        if policy.fitted and (home := home_of_records(file)) is not None:
            say(f"next: trustseg defer apply {place} {home}, then trustseg predict {home} IMAGES --policy {place}")


def _places(output: Path, table: "pl.DataFrame", by: str | None) -> dict[Path, str]:
    """Return the file of each policy and its subgroup: of each value of a column, or one for all."""
    from urllib.parse import quote

    import polars as pl

    from trustseg.deferral.policy import in_group

    if by is None:
        return {output: ""}
    if f"group_{by}" not in table.columns:
        in_group(table, f"{by}=")
    values = table[f"group_{by}"].cast(pl.String)
    if lacking := int((values.is_null() | (values == "")).sum()):
        note(f"{lacking} images have no {by}: no policy is for them, so send them to a human")
    known = values.drop_nulls().unique().sort().to_list()
    return {output.with_stem(f"{output.stem}-{quote(value, safe='')}"): f"{by}={value}" for value in known if value}


@app.command()
def compare(records: Records, tau: Tau = 0.5, draws: Draws = 2000) -> None:
    """Rank the image scores by how well they find bad segmentations, on clean validation images with foreground."""
    from trustseg.deferral import compare_scores

    file, table = calibration_records(records, ("condition", "patient", "dice", "mask_px"))
    found = compare_scores(table, tau=tau, draws=draws)
    lines = [
        [row["score"], *(_with_ends(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in ("naurc", "auroc"))]
        for row in found.to_dicts()
    ]
    print_table(("score", "nAURC (0 ideal, 1 random)", f"AUROC of Dice < {tau:g}"), lines, width=120)
    say(
        f"on {found['images'][0]} images of {found['patients'][0]} patients, {found['failures'][0]} of them failed; in "
        f"brackets: 95 % interval over patients; from {file}"
    )
    if not (found["naurc"] < 1).any():
        say("no score ranks these images better than chance: a policy by any of them would not find the failures")
    options = _options_of(str(found["score"][0]))
    say(f"next: choose a score; for the first: trustseg defer fit {records} {options}".rstrip())


def _options_of(score: str) -> str:
    """Return the options of ``defer fit`` that name a score; nothing for one with options of its own."""
    from trustseg.records import score_column
    from trustseg.uncertainty import AGGREGATIONS, MEASURES

    for measure in MEASURES:
        for aggregation in AGGREGATIONS:
            if score_column(measure, aggregation) == f"u_{score}":
                return f"--measure {measure} --aggregation {aggregation}"
    return ""


@app.command()
def apply(
    policy: Annotated[Path, typer.Argument(help="Policy written by 'trustseg defer fit'.")],
    records: Annotated[Path, typer.Argument(help="Run folder, or a folder with records.parquet.")],
    output: Annotated[Path | None, output_option("Folder for the tables. Default: next to the records.")] = None,
    draws: Draws = 2000,
) -> None:
    """Apply a policy to every condition; writes deferral.csv (rates) and decisions.csv (one row per image)."""
    from trustseg.cli.progress import progress_of
    from trustseg.deferral import apply_policy, check_model, load_policy
    from trustseg.deferral.exchangeability import compared_decisions
    from trustseg.deferral.policy import NEEDED, in_group
    from trustseg.records import model_of, read_records
    from trustseg.study.deferral import score_decisions
    from trustseg.tables import write_csv

    frozen = load_policy(policy)
    file = tested_records(records)
    table = read_records(file, required=NEEDED)
    check_model(frozen, model_of(file))
    applied = apply_policy(frozen, table.filter(in_group(table, frozen.group)))
    decisions, difference = compared_decisions(frozen, applied)
    with progress_of("conditions") as report:
        scores = score_decisions(decisions, frozen, draws=draws, report=report)
    folder = output or file.parent
    columns = ("image", "patient", "condition", "eps", "dice", frozen.column, "review", "guarantee")
    for name, content in (("deferral", scores), ("decisions", decisions.select(columns))):
        write_csv(content, folder / f"{name}.csv")
    _print_scores(scores)
    say(frozen.statement)
    say(limits_of(frozen))
    if frozen.fitted:
        _say_whom_it_covers(scores, applied, difference)
    say(f"tables: {folder / 'deferral.csv'}, {folder / 'decisions.csv'}")
    if frozen.fitted and (home := home_of_records(file)) is not None:
        say(f"next: trustseg predict {home} IMAGES --policy {policy}, trustseg report {home}")


def _say_whom_it_covers(scores: "pl.DataFrame", applied: "pl.DataFrame", found: "Exchangeability | None") -> None:
    """Say for which conditions and patients a guarantee is void, and how new patients compare."""
    from trustseg.deferral import VOID

    void = scores.filter(scores["guarantee"] == VOID)["condition"].unique(maintain_order=True).to_list()
    if void:
        say(f"guarantee void for: {', '.join(void)}")
    clean = applied.filter(applied["condition"] == "clean")
    if seen := clean.filter(clean["guarantee"] == VOID)["patient"].n_unique():
        say(
            f"{seen} of {clean['patient'].n_unique()} clean patients are calibration or training patients; apply the "
            "policy to others"
        )
    if found is None:
        say("whether these patients differ from those of calibration was not tested: none is new, or the policy is old")
    else:
        say(found.statement())


def _print_scores(scores: "pl.DataFrame") -> None:
    lines = []
    for (condition, eps), group in scores.group_by("condition", "eps", maintain_order=True):
        found = {row["score"]: row for row in group.iter_rows(named=True)}
        shares = [_with_ends(found[name]["value"], found[name]["low"], found[name]["high"]) for name in _SHARES]
        row = found["coverage"]
        lines.append([str(condition), f"{float(str(eps)) * 255:g}", str(row["images"]), *shares, row["guarantee"]])
    header = ("condition", "eps x 255", "images", *(name.replace("_", " ") for name in _SHARES), "guarantee")
    print_table(header, lines, width=200)


def _with_ends(value: float, low: float, high: float) -> str:
    """Return a value with the ends of its interval, where it has one."""
    ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return "undefined" if math.isnan(value) else f"{value:.3f}{ends}"
