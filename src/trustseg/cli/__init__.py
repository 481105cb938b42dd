"""The ``trustseg`` command. Only the verb that is run imports what it needs."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from trustseg import __version__
from trustseg.cli import data, report, run, study, tools
from trustseg.errors import RunError, TrustsegError

__all__ = ["app", "main"]

app = typer.Typer(
    name="trustseg",
    help="Train, attack, measure and explain segmentation models that say how sure they are.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(tools.demo)
app.add_typer(data.app, name="data")
app.command()(run.train)
app.command()(run.evaluate)
app.command()(study.study)
app.command()(report.report)
app.command()(run.predict)
app.command()(tools.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trustseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["TRUSTSEG_DEBUG"] = "1"


def main() -> None:
    """Run the command; an error is one sentence and exit code 2 (1 for a run that failed), unless ``--debug``."""
    try:
        app()
    except (TrustsegError, OSError, MemoryError) as error:
        if os.environ.get("TRUSTSEG_DEBUG"):
            raise
        Console(stderr=True, soft_wrap=True).print(
            f"trustseg: {_sentence(error)}", style="red", markup=False, highlight=False
        )
        sys.exit(1 if isinstance(error, RunError) else 2)
    except KeyboardInterrupt:
        Console(stderr=True).print("trustseg: interrupted; the same command goes on from here")
        sys.exit(130)


def _sentence(error: BaseException) -> str:
    """Return what happened and what to do, in one sentence."""
    if isinstance(error, OSError) and not isinstance(error, TrustsegError):
        where = f" at '{error.filename}'" if error.filename else ""
        if error.errno == 28:  # ENOSPC
            return f"the disk is full{where}; nothing finished is lost; free some space and run the same command again"
        return f"{error.strerror or error}{where}; a readable and writable path was expected; check it and its rights"
    if isinstance(error, MemoryError):
        return "out of memory; a smaller data.size, training.batch_size or --jobs was expected; lower one of them"
    return str(error)
