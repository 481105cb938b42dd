"""``trustseg review``: a page on which people look at flagged cases, and what follows from their decisions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from trustseg.cli.display import note, say
from trustseg.cli.options import output_option
from trustseg.errors import ConfigError, TrustsegError

if TYPE_CHECKING:
    from trustseg.review.cases import CaseFolder
    from trustseg.review.storage import Store

__all__ = ["app"]

_Folder = Annotated[Path, typer.Argument(help="Folder that 'trustseg predict' has written.")]
_State = Annotated[
    Path | None, typer.Option("--state", help="Folder of the review, on a local disk. Default: review in FOLDER.")
]
_Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of the images, if not where 'predict' found them.")
]


class _WithDefault(TyperGroup):
    """``trustseg review FOLDER`` is ``trustseg review serve FOLDER``."""

    default = "serve"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's Click is private
        """Put the verb in where none is given."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_WithDefault,
    no_args_is_help=True,
    help="Review flagged cases in a browser: 'trustseg review FOLDER'. Research use only.",
)


@app.command()
def serve(
    folder: _Folder,
    images: _Images = None,
    records: Annotated[
        Path | None, typer.Option(help="Run with validation records of the same model: what a threshold means.")
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(help="File of users, see 'trustseg review user'. Default: one reader, a random token."),
    ] = None,
    readers: Annotated[int, typer.Option(min=1, max=2, help="People who decide on each case; 2 need --users.")] = 1,
    blind: Annotated[bool, typer.Option("--blind/--no-blind", help="Rate the image before the mask appears.")] = True,
    agree_dice: Annotated[float, typer.Option(min=0, max=1, help="Two redrawn masks agree from this Dice on.")] = 0.8,
    state: _State = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    public_url: Annotated[
        str | None, typer.Option(help="https://... of the reverse proxy in front of this server.")
    ] = None,
) -> None:
    """Serve the page (the verb may be left out): prints its address, ends with Ctrl-C."""
    from trustseg.review.serving import Listening, listen
    from trustseg.review.state import Settings

    with listen(
        folder,
        images=images,
        records=records,
        users=users,
        state=state,
        settings=Settings(readers=readers, blind=blind, agree_dice=agree_dice),
        listening=Listening(host, port, public_url),
    ) as server:
        say("Research use only. No medical device.")
        for sentence in server.notes:
            say(f"note: {sentence}")
        say(f"{server.cases} cases; open {server.address}")
        server.run()


@app.command()
def user(
    users: Annotated[Path, typer.Argument(help="File of users; made if it is not there.")],
    name: Annotated[str, typer.Argument(help="Name to log in with: letters, digits, dot, dash, underscore.")],
    role: Annotated[Literal["reader", "adjudicator", "admin"], typer.Option(help="What the user may do.")] = "reader",
    password: Annotated[str | None, typer.Option(help="Asked for if not given.")] = None,
) -> None:
    """Add a user to a file of users, or give a known one a new password and role."""
    from trustseg.review.access import add_user, require_name

    require_name(users, name)  # before anybody types a password
    if password is None:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    add_user(users, name, role, password)
    say(f"{name} may log in as {role}: {users}")


@app.command()
def verify(
    folder: _Folder,
    state: _State = None,
    images: _Images = None,
    head: Annotated[
        str | None, typer.Option(help="NUMBER:HASH of the log as it was noted elsewhere, from the page or a report.")
    ] = None,
) -> None:
    """Check that nothing in a review was changed, left out or put in another order; exit code 1 if something was."""
    from trustseg.review.cases import open_cases
    from trustseg.review.chain import parse_head
    from trustseg.review.verify import changed_files, open_store
    from trustseg.review.verify import verify as run_check

    noted = None if head is None else parse_head(head)
    store = open_store(folder, state=state, create=False)
    faults = run_check(store, head=noted)
    found = store.head()
    whole = f"{found.number} entries, nothing was changed; head: {found}"
    try:
        faults += changed_files(store, open_cases(folder, images=images))
    except TrustsegError as error:
        if not faults:
            say(f"the log alone: {whole}")
            raise
        faults.append(str(error))
    for fault in faults:
        say(f"fault: {fault}")
    if faults:
        raise typer.Exit(1)
    say(whole)


@app.command()
def report(
    folder: _Folder,
    records: Annotated[
        Path | None, typer.Option(help="Run with validation records: failures found against those expected.")
    ] = None,
    state: _State = None,
    images: _Images = None,
    output: Annotated[Path | None, output_option("JSON file to write. Default: report.json beside the log.")] = None,
) -> None:
    """Print what a review has shown: time, overrides, agreement, failures found; writes it as JSON."""
    from trustseg.cli.review_report import print_summary
    from trustseg.files import write_json
    from trustseg.review.risk import read_risk
    from trustseg.review.summary import summarise

    cases, store = _whole(folder, state, images)
    found = summarise(cases, store, risk=None if records is None else read_risk(records, cases))
    file = output or store.folder / "report.json"
    write_json(file, found)
    print_summary(found)
    say(f"report: {file}")


@app.command()
def export(
    folder: _Folder,
    output: Annotated[Path, output_option("Folder to write.")] = Path("review-export"),
    state: _State = None,
    images: _Images = None,
) -> None:
    """Write the decisions as CSV and JSON, and the masks that stand; redrawn ones of DICOM images also as DICOM."""
    from trustseg.review.export import export_review

    _require_new(output)
    cases, store = _whole(folder, state, images)
    export_review(cases, store, output, note=note)
    names = ("log.csv", "log.json", "cases.csv", "masks", "dicom", "drawn")
    say(f"{', '.join(name for name in names if (output / name).exists())}: {output}")


@app.command()
def backup(
    folder: _Folder,
    output: Annotated[Path, output_option("Folder to write.")],
    state: _State = None,
) -> None:
    """Copy a review, also while people work on it; the copy can be used with --state."""
    from trustseg.review.export import back_up
    from trustseg.review.storage import Store
    from trustseg.review.verify import open_store

    _require_new(output)
    file = back_up(open_store(folder, state=state, create=False), output)
    say(f"backup: {file}; head: {Store(output, create=False).head()}")


def _whole(folder: Path, state: Path | None, images: Path | None) -> "tuple[CaseFolder, Store]":
    """Return the cases and the log of a review, checked."""
    from trustseg.review.cases import open_cases
    from trustseg.review.verify import open_store, require_whole

    cases = open_cases(folder, images=images)
    return cases, require_whole(open_store(folder, state=state, create=False), cases)


def _require_new(folder: Path) -> None:
    """Raise unless a folder to be written is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"'{folder}' is not empty; give another --output")
