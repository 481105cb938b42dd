"""``trustseg data``: look at a dataset, pack it, generate one, fetch what lies elsewhere."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trustseg.cli.display import say
from trustseg.cli.images import say_notes
from trustseg.cli.options import output_option
from trustseg.cli.progress import progress_of
from trustseg.text import first_of, printable

if TYPE_CHECKING:
    from trustseg.data.check import CheckReport
    from trustseg.data.mask_values import MaskValues

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Check, pack, generate or fetch data.")

_Source = Annotated[
    Path, typer.Argument(help="Dataset folder (manifest.csv, images/ and masks/, QaTa-COV19-v2 ...) or a manifest.")
]
_Masks = Annotated[
    str | None, typer.Option("--masks", help="Folder or file-name ending of the reference masks, if ambiguous.")
]
_Controls = Annotated[
    str | None, typer.Option("--controls", help="Folder of images known to lack the target; '.' for all.")
]
_Unite = Annotated[bool, typer.Option("--unite-masks", help="Take the union of several masks of one image.")]
_Values = Annotated[
    str | None,
    typer.Option(
        metavar="VALUES", help="Meaning of mask values, as data.mask_values, e.g. '{lesion: [1, 2], ignore: 255}'."
    ),
]
_Fit = Annotated[
    Literal["squash", "pad"], typer.Option(help="Non-square images: squash, or pad to keep the aspect ratio.")
]
_Channels = Annotated[Literal[1, 3], typer.Option(help="1 (grey) or 3 (RGB).")]
_Size = Annotated[int, typer.Option(min=1, help="Side of the square images, in pixels.")]


@app.command()
def check(
    path: _Source,
    mask_values: _Values = None,
    masks: _Masks = None,
    controls: _Controls = None,
    unite_masks: _Unite = False,
    size: _Size = 224,
    channels: _Channels = 1,
    fit: _Fit = "squash",
    as_json: Annotated[bool, typer.Option("--json", help="Print the full report as JSON.")] = False,
) -> None:
    """Report the contents of a dataset and its problems; exit code 2 if there are errors."""
    from trustseg.config import DataConfig
    from trustseg.data.cases import Declared
    from trustseg.data.check import check_dataset

    declared = Declared(masks=masks, controls=controls, unite_masks=unite_masks)
    values = _mask_values(mask_values)
    with progress_of("checking") as progress:
        report = check_dataset(
            path, declared, mask_values=values, size=size, channels=channels, fit=fit, progress=progress
        )
    if as_json:
        sys.stdout.write(json.dumps({"ok": report.ok, **asdict(report)}, indent=1) + "\n")
    else:
        used: dict[str, object] = {**asdict(declared), "mask_values": mask_values}
        used |= {"fit": fit, "size": size, "channels": channels}
        defaults = DataConfig()
        settings = [
            f"data.{key}={str(value).lower() if isinstance(value, bool) else value}"
            for key, value in used.items()
            if value != getattr(defaults, key)
        ]
        _print_report(path, report, settings)
    if not report.ok:
        raise typer.Exit(2)


@app.command()
def pack(
    source: _Source,
    target: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    size: _Size = 224,
    channels: _Channels = 1,
    fit: _Fit = "squash",
    mask_values: _Values = None,
    masks: _Masks = None,
    controls: _Controls = None,
    unite_masks: _Unite = False,
) -> None:
    """Decode a dataset once into memory-mapped arrays for training."""
    from trustseg.data.cases import Declared
    from trustseg.data.packing import write_pack

    values = _mask_values(mask_values)
    with progress_of("packing") as progress:
        made = write_pack(
            source,
            target,
            size=size,
            channels=channels,
            fit=fit,
            mask_values=values,
            declared=Declared(masks=masks, controls=controls, unite_masks=unite_masks),
            progress=progress,
        )
    say_notes(made)
    megabytes = (made.images.nbytes + made.masks.nbytes) / 1e6
    say(f"{len(made)} images of {size}x{size} pixels in {target} ({megabytes:.1f} MB), {made.digest[:12]}")


@app.command()
def manifest(
    folder: _Source,
    output: Annotated[Path, output_option("Table to write; must not exist.")],
    masks: _Masks = None,
    controls: _Controls = None,
    unite_masks: _Unite = False,
) -> None:
    """Write the contents of a folder as a table that you can edit: image, mask, patient, split.

    A folder with a manifest.csv is read by that table alone. Open questions are printed.
    """
    from trustseg.data import find_cases, write_manifest
    from trustseg.data.cases import Declared
    from trustseg.data.check import passed_over_findings

    found = find_cases(folder, Declared(masks=masks, controls=controls, unite_masks=unite_masks))
    write_manifest(found, output)
    say(f"{len(found.cases) + len(found.unpaired_images)} images in {output}")
    findings = (*passed_over_findings(found), *found.problems)
    for note in (*found.notes, *(finding.message for finding in findings)):
        say(f"note: {note}")
    if found.unpaired_images:
        say(f"note: {len(found.unpaired_images)} images have no mask and are written as unlabelled")
    if found.unpaired_masks:
        say(f"note: {len(found.unpaired_masks)} masks, such as {found.unpaired_masks[0]}, have no image")


@app.command()
def phantoms(
    path: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    train: Annotated[int, typer.Option(min=0, help="Training images.")] = 160,
    test: Annotated[int, typer.Option(min=0, help="Test images.")] = 40,
    control: Annotated[int, typer.Option(min=0, help="Images without foreground.")] = 20,
    size: _Size = 128,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes to use.", show_default="all cores")] = None,
) -> None:
    """Generate chest X-rays with reference masks, in the QaTa-COV19-v2 layout."""
    from trustseg.data.phantom import write_phantoms

    total = train + test + control
    with progress_of("drawing") as progress:
        made = write_phantoms(
            path,
            train=train,
            test=test,
            control=control,
            size=size,
            seed=seed,
            jobs=jobs,
            progress=lambda done: progress(done, total),
        )
    say(f"{total} phantoms of {size}x{size} pixels in {made}")


@app.command()
def fetch_qata(
    target: Annotated[
        Path | None, typer.Option(help="Folder to download into.", show_default="kagglehub's cache")
    ] = None,
) -> None:
    """Download QaTa-COV19-v2 from Kaggle; needs the extra qata."""
    from trustseg.data import fetch_qata as fetch

    say(f"{fetch(target)}")


@app.command()
def fetch_encoder(
    encoder: Annotated[str, typer.Argument(help="Encoder of segmentation_models.pytorch, such as resnet18.")],
    target: Annotated[Path, typer.Argument(help="File to write, such as resnet18.safetensors.")],
    weights: Annotated[str, typer.Option(help="Which published weights.")] = "imagenet",
    accept_noncommercial: Annotated[
        bool, typer.Option("--accept-noncommercial", help="Accept non-commercial licence terms.")
    ] = False,
) -> None:
    """Download published encoder weights, for model.weights."""
    from trustseg.models.weights import fetch_encoder_weights

    file = fetch_encoder_weights(encoder, target, weights=weights, accept_noncommercial=accept_noncommercial)
    say(f"{file}")


def _mask_values(text: str | None) -> "MaskValues | None":
    """Return what ``--mask-values`` says, read as the setting ``data.mask_values``."""
    if text is None:
        return None
    from trustseg.config import load_run

    return load_run(None, [f"data.mask_values={text}"]).data.mask_values


def _print_report(path: Path, report: "CheckReport", settings: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    heads = ("split", "images", "patients", "of unknown patients", "lateral views", "empty masks")
    table = Table(*heads, title=Text(printable(f"{path.absolute().name} ({report.layout} layout)")))
    for split, count in report.images.items():
        # Images without a mask: a count of empty ones would look like a count of images without foreground.
        empty = "—" if split in ("control", "unlabelled") else f"{report.empty_masks.get(split, 0):,}"
        counts = (report.patients, report.unknown_patients, report.laterals)
        table.add_row(split, f"{count:,}", *(f"{by_split.get(split, 0):,}" for by_split in counts), empty)
    console.print(table)
    listed = {
        **{
            f"images by {name}": [f"{value or 'no value'}: {count:,}" for value, count in counts.items()]
            for name, counts in report.subgroups.items()
        },
        "channels": [f"{count:,} {kind}" for kind, count in report.channels.items()],
        "sizes": [f"{count:,} of {size}" for size, count in report.sizes.items()],
        "width/height": [f"{name} {ratio:.2f}" for name, ratio in report.aspect.items()],
        "mask values": [f"{value}: {count:,}" for value, count in report.mask_values.items()],
        "lesion share": [f"{name} {share:.3g}" for name, share in report.lesion_share.items()],
    }
    for label, parts in listed.items():
        if parts:
            say(f"{label}: {first_of(parts, 5)}")
    say(f"patients with one image: {report.singletons:,}; image files passed over: {report.passed_over:,}")
    for sentence in report.plan:
        say(f"when read: {sentence}")
    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    for finding in report.findings:
        line = Text.assemble((finding.severity, styles[finding.severity]), printable(f": {finding.message}"))
        console.print(line, soft_wrap=True)
    say("no errors" if report.ok else "not usable: see the errors above")
    if report.ok and report.next:
        verb, *folds = report.next.split(" ")
        say(f"next: {shlex.join(['trustseg', verb, f'data.path={path}', *folds, *settings])}")
