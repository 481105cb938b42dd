"""``trustseg export``: a trained model as one file that needs neither trustseg nor torch."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trustseg.cli.display import say
from trustseg.cli.options import Model, Overwrite, ScoreAggregation, ScoreMeasure, Uncalibrated
from trustseg.errors import ConfigError

__all__ = ["export"]


def export(
    model: Model,
    output: Annotated[Path, typer.Argument(help="File to write: .onnx (ONNX) or .pt2 (torch.export).")],
    policy: Annotated[
        Path | None, typer.Option(help="Policy from 'trustseg defer fit': its score, and its threshold as review.")
    ] = None,
    measure: ScoreMeasure = None,
    aggregation: ScoreAggregation = None,
    images: Annotated[
        Literal["uint8", "float32"],
        typer.Option("--input", help="Type of the images: grey levels 0 to 255, or values in [0, 1]."),
    ] = "uint8",
    precision: Annotated[Literal["fp32", "fp16", "int8"], typer.Option(help="In which the network computes.")] = "fp32",
    data: Annotated[
        Path | None, typer.Option(help="Images with masks on which the change by lower precision is measured.")
    ] = None,
    uncalibrated: Uncalibrated = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a model with everything before and after its network into one file, for images of any size.

    The file takes images (B, C, H, W), C = 1 or 3, and returns mask, probability, uncertainty, score and, with a
    policy, review. Research use only.
    """
    from trustseg.cli.deferring import limits_of, score_of
    from trustseg.deferral import CertifiedPolicy
    from trustseg.deferral.policy_files import load_any_policy
    from trustseg.export import export_model

    frozen = None if policy is None else load_any_policy(policy)
    if isinstance(frozen, CertifiedPolicy):
        raise ConfigError(
            f"'{policy}' is certified for noisy images, and a graph draws no noise; predict with the model"
        )
    if frozen is not None and (measure or aggregation):
        raise ConfigError(
            f"'{policy}' was fitted on {frozen.aggregation} of {frozen.measure}; remove --measure and --aggregation, "
            "or give a policy of another score"
        )
    measure, aggregation = score_of(measure, aggregation, frozen)
    written = export_model(
        model,
        output,
        measure=measure,
        aggregation=aggregation,
        policy=frozen,
        kind=images,
        precision=precision,
        data=data,
        uncalibrated=uncalibrated,
        overwrite=overwrite,
    )
    say(f"score: {aggregation} of {measure}")
    say("no output review: give a policy by --policy" if frozen is None else frozen.statement)
    if frozen is not None:
        say(limits_of(frozen))
    if frozen is not None and precision != "fp32":
        say(f"The policy was fitted in full precision: with {precision} its promise does not hold to the letter.")
    say(f"largest difference of any output from the model on noise: {written.difference:.1e}")
    for line in written.facts():
        say(line)
    if written.change is not None:
        say(written.change.line())
    elif precision != "fp32":
        say("change of Dice and ECE not measured; give images with masks by --data")
    say(f"exported: {written.path}")
