"""``trustseg audit``: any model, or its predictions alone, against requirements."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustseg.cli.display import print_table, say
from trustseg.cli.options import AllowSeen, output_option
from trustseg.cli.progress import progress_of
from trustseg.errors import ConfigError
from trustseg.progress import ProgressCallback

if TYPE_CHECKING:
    from trustseg.audit import Audit
    from trustseg.audit.measuring import StageCallback

__all__ = ["audit"]


def audit(
    model: Annotated[
        str | None, typer.Argument(help="Model file or folder, package.module:function, or folder of predictions.")
    ] = None,
    data: Annotated[Path | None, typer.Argument(help="Folder of images and masks, manifest, or pack.")] = None,
    require: Annotated[
        Path | None, typer.Option("--require", help="Requirements (YAML). Default: those that are shipped.")
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            help="Time for the whole audit, such as 90s, 10min or 2h: limits shifts and attacks; none: all of "
            "them on all images. What requirements name is measured in any case, even if it takes longer."
        ),
    ] = "10min",
    output: Annotated[Path, output_option("Folder to write.")] = Path("audit"),
    split: Annotated[str, typer.Option(help="Images to use: all, test, validation or train; controls always.")] = "all",
    size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of the images in pixels; give that of the model's training. Default: the model's, or 224."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of package.module:function.")] = None,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Allow a model to run code of its own.")] = False,
    take: Annotated[str | None, typer.Option(help="Name or number of the output, if the model has several.")] = None,
    convention: Annotated[
        list[str] | None, typer.Option(help="What is known of input or output, e.g. output=logit; may be repeated.")
    ] = None,
    allow_training_patients: AllowSeen = False,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show no images of patients.")] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", help="Folders of two audits of the same cases, compared image by image."),
    ] = None,
) -> None:
    """Audit a model, or predictions without their model, against requirements; writes audit.html and audit.json.

    Exit code 0 if all requirements are met, 1 if not, 2 for bad input. Started again, it goes on where it stopped.
    """
    if compare is not None and model is None:
        _compare(*compare)
        return
    if compare is not None or model is None or data is None:
        raise ConfigError("give a model and its data, or --compare with the folders of two audits")

    from trustseg.audit import ModelOptions
    from trustseg.audit import audit as run_audit

    options = ModelOptions(
        weights=weights,
        trust_code=trust_code,
        output=int(take) if take is not None and take.isdecimal() else take,
        conventions=_conventions(convention or []),
        size=size,
    )
    with _stages() as report:
        found = run_audit(
            model,
            data,
            require,
            folder=output,
            budget=budget,
            split=split,
            options=options,
            allow_training_patients=allow_training_patients,
            pictures=not no_pictures,
            report=report,
        )
    _print(found)
    if not found.passed:
        raise typer.Exit(1)


def _print(found: "Audit") -> None:
    for each in found.verdicts:
        reason = f" ({each.reason})" if each.reason else ""
        say(f"{each.outcome:<9} {each.text}: {each.interval.text()}{reason}")
    for remark in found.document.remarks:
        say(f"note: {remark}")
    for text, lack in found.document.not_tested.items():
        say(f"not tested: {text} ({lack})")
    for text in found.document.plan.left_out:
        say(f"left out by the budget: {text}")
    say(f"audit: {found.page}")


def _compare(first: Path, second: Path) -> None:
    """Print the differences between two audits, and write them as CSV into the folder of the first."""
    from trustseg.audit import compare
    from trustseg.files import write_text

    table = compare(first, second)
    rows = [[f"{value} {span}".strip() for value, span in row] for row in table.cells()]
    print_table([column.title for column in table.columns], rows, width=160)
    file = first / "tables" / "comparison.csv"
    write_text(file, table.csv())
    say(f"comparison: {file}")


def _conventions(settings: list[str]) -> dict[str, object]:
    """Return what ``KEY=VALUE`` settings say, their values as YAML reads them."""
    from trustseg.yaml_files import parse_yaml

    found: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--convention '{setting}' is not KEY=VALUE, such as output=logit")
        parsed = parse_yaml(value, where=f"--convention {key}")
        found[key] = tuple(parsed) if isinstance(parsed, list) else parsed
    return found


@contextmanager
def _stages() -> Iterator["StageCallback"]:
    """Yield what an audit calls with its stage and steps: each stage has a progress display of its own."""
    with ExitStack() as last:
        shown: dict[str, ProgressCallback] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                last.close()
                shown.clear()
                shown[stage] = last.enter_context(progress_of(stage))
                if not done and not sys.stderr.isatty():
                    say(stage, err=True)
            shown[stage](done, total)

        yield report
