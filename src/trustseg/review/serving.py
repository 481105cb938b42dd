"""Starting the server of a review: the one place that binds a port."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from trustseg.config import load_run
from trustseg.deferral.policy import VOID
from trustseg.errors import ConfigError, DataError, MissingPackageError, TrustsegError
from trustseg.files import make_folder
from trustseg.review.access import LOCAL, Authenticator, Users
from trustseg.review.actions import Review
from trustseg.review.attacked import read_attacked
from trustseg.review.cases import open_cases
from trustseg.review.risk import read_risk
from trustseg.review.state import Reader, Settings
from trustseg.review.verify import PLACE, open_store
from trustseg.system import try_lock

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["LOCK", "Listening", "Server", "listen"]

LOCK: Final = "serving.lock"
"""Which the one server of a review holds, in the folder of the review."""


class Listening(NamedTuple):
    """Where a server listens; an address that other machines reach needs the HTTPS address of a reverse proxy."""

    host: str = "127.0.0.1"
    port: int = 8765  # 0 takes a free one
    public_url: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server that holds its port and is ready to run."""

    app: "FastAPI"
    address: str  # what people open; with the token, where there is one
    cases: int  # how many there are
    notes: tuple[str, ...]  # for whoever starts it
    listening_socket: socket.socket

    def run(self) -> None:
        """Answer requests until the process is told to end."""
        import uvicorn

        config = uvicorn.Config(
            self.app,
            log_level="error",  # no access log: it would say who looked at which case when, outside of the log
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=200,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=3,
        )
        with suppress(KeyboardInterrupt):  # raised again by uvicorn, after it has answered what was under way
            uvicorn.Server(config).run(sockets=[self.listening_socket])


@contextmanager
def listen(
    folder: Path,
    *,
    images: Path | None = None,
    records: Path | None = None,
    users: Path | None = None,
    state: Path | None = None,
    settings: Settings,
    listening: Listening,
) -> Iterator[Server]:
    """Yield a server of the review of a folder of predictions; its log is closed afterwards.

    Raises:
        ConfigError: if settings do not fit each other, the port is taken, or another server holds the review.
        MissingPackageError: without the extra ``review``.
        TrustsegError: as ``open_cases``, ``read_risk``, ``read_attacked``, ``Users`` and ``Review``.
    """
    if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        raise MissingPackageError(f"the review needs {' and '.join(missing)}; pip install 'trustseg[review]'")

    from trustseg.review.routes import AppContext
    from trustseg.review.server import create_app

    public = _require_consistent(settings, listening, users)
    cases = open_cases(folder, images=images)
    risk = None if records is None else read_risk(records, cases)
    attacked = {} if records is None else read_attacked(records, cases)
    target = None if records is None else _target_of(records)
    token = secrets.token_urlsafe(24) if users is None else None
    auth = Authenticator(token=token, users=None if users is None else Users(users), single=Reader("reviewer", "admin"))
    with ExitStack() as stack:
        place = folder / PLACE if state is None else state
        stack.enter_context(_lock_review(place))
        listening_socket = stack.enter_context(_bind(listening))
        store = open_store(folder, state=state)
        stack.callback(store.close)
        port = listening_socket.getsockname()[1]
        review = Review(cases, store, settings)
        context = AppContext(review, auth, risk, attacked, f"trustseg_review_{port}", public is not None, target)
        app = create_app(context, hosts=LOCAL if public is None else (*LOCAL, public))
        address = listening.public_url or f"http://{listening.host}:{port}/"
        address += "" if token is None else f"#token={token}"
        yield Server(app, address, len(cases.cases), _notes(review, risk is None, len(attacked)), listening_socket)


def _target_of(records: Path) -> str | None:
    """Return what the settings of the run of some records call the target; None if they do not name it.

    Settings that cannot be read, such as those of another program, do not keep anybody from reviewing: it is a word.
    """
    for folder in (records, *records.absolute().parents[:2]):
        if (folder / "config.yaml").is_file():
            with suppress(TrustsegError):
                target = load_run(folder / "config.yaml", []).data.target
                return None if target == "foreground" else target
    return None


@contextmanager
def _lock_review(place: Path) -> Iterator[None]:
    """Hold a review for this server; the lock ends with the process, however that ends."""
    make_folder(place)
    path = place / LOCK
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            locked = try_lock(descriptor)
        except OSError as error:
            raise DataError(f"'{path}' cannot be locked ({error.strerror}); keep the review on a local disk") from error
        if not locked:
            raise ConfigError(f"another 'trustseg review' serves this review (lock '{path}'); end that one first")
        yield
    finally:
        os.close(descriptor)


def _require_consistent(settings: Settings, listening: Listening, users: Path | None) -> str | None:
    """Return the name of the host of the reverse proxy, None without one, after checking what fits together."""
    if settings.readers > 1 and users is None:
        raise ConfigError("--readers 2 needs people who can be told apart; give --users FILE")
    if listening.public_url is None:
        if listening.host not in LOCAL:
            raise ConfigError(
                f"--host {listening.host} can be reached from other machines without encryption; put a reverse proxy "
                "with TLS in front, and name it with --public-url https://..."
            )
        return None
    found = urlsplit(listening.public_url)
    if found.scheme != "https" or not found.hostname or found.path not in ("", "/") or found.query or found.fragment:
        raise ConfigError(f"--public-url is '{listening.public_url}', expected https://HOST without a path")
    if users is None:
        raise ConfigError("--public-url lets others in; give --users FILE")
    return found.hostname


def _bind(listening: Listening) -> socket.socket:
    listening_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening_socket.bind((listening.host, listening.port))
        listening_socket.listen(2048)  # so that whoever opens the address at once waits for the server
    except OSError as error:
        listening_socket.close()
        raise ConfigError(
            f"cannot listen on {listening.host} port {listening.port} ({error.strerror}); choose another with --port"
        ) from error
    return listening_socket


def _notes(review: Review, no_records: bool, attacked: int) -> tuple[str, ...]:
    notes = []
    if review.folder.policy is None:
        notes.append("the predictions have no policy, so every case is listed")
    if review.folder.guarantee == VOID:
        notes.append("the policy's guarantee is void: these images differ from those it was fitted on")
    if no_records:
        notes.append("without --records RUN the threshold slider shows the coverage only")
    if attacked:
        notes.append(f"the evaluation recorded {attacked} of the cases under attack")
    return tuple(notes)
