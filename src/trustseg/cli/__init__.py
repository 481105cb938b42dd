"""The ``trustseg`` command. Only the verb that is run imports what it needs.

What a user gave wrongly is raised as a ``TrustsegError`` wherever it is found; ``main`` prints it.
"""

import io
import os
import signal
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from trustseg import __version__
from trustseg.cli import (
    audit,
    calibrate,
    certify,
    data,
    defer,
    documents,
    evaluate,
    export,
    masks,
    predict,
    review,
    study,
    tools,
    train,
)
from trustseg.errors import RunError, TrustsegError, misfortune
from trustseg.text import printable

__all__ = ["app", "main"]

_INTERRUPTED = 128 + signal.SIGINT
_RESUMING = frozenset({"demo", "train", "evaluate", "audit", "study"})  # verbs that go on where they were interrupted

app = typer.Typer(
    name="trustseg",
    help="Train, attack and evaluate segmentation models for medical images, and know when to trust them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(tools.demo)
app.add_typer(data.app, name="data")
app.command()(train.train)
app.command()(calibrate.calibrate)
app.command()(evaluate.evaluate)
app.command()(audit.audit)
app.command()(study.study)
app.command()(documents.report)
app.command()(predict.predict)
app.command()(export.export)
app.command()(documents.card)
app.command()(documents.evidence)
defer.app.command()(masks.masks)
defer.app.command()(masks.area)
defer.app.command()(certify.certify)
app.add_typer(defer.app, name="defer")
app.add_typer(review.app, name="review")
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
    _prepare_environment()
    arguments = [part for part in sys.argv[1:] if part != "--debug"]  # accepted after the verb as well
    if len(arguments) < len(sys.argv) - 1:
        os.environ["TRUSTSEG_DEBUG"] = "1"
    try:
        code = app(args=arguments, prog_name="trustseg", standalone_mode=False)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of Typer's, whichever Click it brings
            _say_usage(error)
            sys.exit(2)
        if os.environ.get("TRUSTSEG_DEBUG"):
            raise
        sentence, code = _explained(error)
        _say(sentence)
        sys.exit(code)
    if code == _INTERRUPTED:
        resumes = not _RESUMING.isdisjoint(arguments[:1])
        _say("interrupted; run the same command again to resume" if resumes else "interrupted")
    sys.exit(code if isinstance(code, int) else 0)


def _prepare_environment() -> None:
    """Draw without windows, whatever a notebook asks of matplotlib; print escapes where a terminal lacks a letter."""
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say_usage(error: Any) -> None:  # noqa: ANN401 - Typer's Click is private
    """Say what is wrong with the arguments, in our form; a verb without any gets its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    verb = error.ctx.command_path if getattr(error, "ctx", None) else "trustseg"
    message = " ".join(error.format_message().replace("Value error, ", "").split())
    message = message.partition(", unable to parse")[0].rstrip(".")
    end = "" if message.endswith("?") else ";"
    _say(f"{message[:1].lower()}{message[1:]}{end} see '{verb} --help'")


def _say(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(
        f"trustseg: {printable(sentence)}", style="red", markup=False, highlight=False
    )


def _explained(error: Exception) -> tuple[str, int]:
    """Return what happened and what to do, in one sentence, and the exit code."""
    if isinstance(error, TrustsegError):
        return str(error), 1 if isinstance(error, RunError) else 2
    if isinstance(error, typer.Abort):  # at a prompt
        if isinstance(error.__context__, KeyboardInterrupt):
            return "interrupted", _INTERRUPTED
        return "no input to a question; answer it, or give the option that it asks for", 2
    if (sentence := misfortune(error)) is not None:
        return sentence, 2
    fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{fault}; this is a bug in trustseg; please report it with the output of the same command with --debug", 1
