"""Access to a review: a random token or users with passwords, sessions, and a limit on failed log-ins."""

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trustseg.errors import DataError, MissingFileError, MissingPackageError, first_problem
from trustseg.files import read_json, write_json
from trustseg.review.state import Reader, Role

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["LOCAL", "Authenticator", "DeniedError", "LimitedError", "Session", "Users", "add_user", "require_name"]

LOCAL: Final = ("127.0.0.1", "localhost")
"""Names of this machine, which a server answers to by default."""

_IDLE: Final = 2 * 3600.0  # seconds after which an unused session ends
_LONGEST: Final = 12 * 3600.0  # seconds after which every session ends
_WINDOW: Final = 300.0  # seconds in which failed log-ins are counted
_FAILURES: Final = 5  # of one name in the window,
_ALL_FAILURES: Final = 50  # and of everybody
_SESSIONS: Final = 200  # at once; the oldest goes first
_SHORTEST: Final = 10  # characters of a password

_NAME: Final = r"^[\w.-]{1,64}$"


class DeniedError(DataError):
    """Wrong token, name or password, or no session."""


class LimitedError(DataError):
    """Too many failed log-ins."""


class _User(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    role: Role
    password: Annotated[str, Field(pattern=r"^\$argon2id\$")]


class _UsersFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    users: dict[Annotated[str, Field(pattern=_NAME)], _User]


class Session(NamedTuple):
    """Somebody who has logged in, what every write has to repeat in a header, and when the session began."""

    reader: Reader
    csrf: str
    began: float


class Users:
    """The users in a file that ``add_user`` writes; read again when it changes.

    Raises:
        DataError: if the file is damaged, or holds nobody.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._users: dict[str, _User] = {}
        self._hasher = _hasher()
        self._nobody = self._hasher.hash(secrets.token_hex())  # so that an unknown name takes as long as a known one
        if not self._read():
            raise DataError(f"'{path}' holds no user; add one with 'trustseg review user'")

    def reader(self, name: str) -> Reader | None:
        """Return a user as the file has it now, None if there is no such user."""
        user = self._read().get(name)
        return None if user is None else Reader(name, user.role)

    def check(self, name: str, password: str) -> Reader | None:
        """Return who has this name and password, None if nobody has."""
        from argon2.exceptions import Argon2Error

        user = self._read().get(name)
        try:
            self._hasher.verify(self._nobody if user is None else user.password, password)
        except (Argon2Error, ValueError):
            return None
        return None if user is None else Reader(name, user.role)

    def _read(self) -> dict[str, _User]:
        stat = self.path.stat() if self.path.is_file() else None
        stamp = None if stat is None else (stat.st_mtime_ns, stat.st_size)
        if stamp is None or stamp != self._stamp:
            self._users, self._stamp = _read_users(self.path), stamp
        return self._users


class Authenticator:
    """Lets people in and knows them again; safe for several threads.

    Args:
        token: lets in everybody, as ``single``; None where ``users`` are given.
        users: who may log in.
        single: who everybody with the token is.
        clock: seconds, for sessions and limits.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        users: Users | None = None,
        single: Reader | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token, self._users, self._single, self._clock = token, users, single, clock
        self._sessions: dict[str, tuple[Session, float]] = {}  # by the hash of its secret; when it was last used
        self._failed: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    @property
    def wants_password(self) -> bool:
        """Whether people log in by name and password."""
        return self._users is not None

    def log_in(self, *, token: str = "", name: str = "", password: str = "") -> tuple[str, Session]:
        """Return the secret of a new session, for a cookie, and the session.

        Raises:
            DeniedError: if token, name or password are wrong; it does not say which.
            LimitedError: if there were too many failures before, of this name or in all.
        """
        who = f"user {name}" if self._users is not None else "token"
        with self._lock:
            if self._recent(who) >= _FAILURES or self._recent("all") >= _ALL_FAILURES:
                raise LimitedError("too many failed log-ins; wait five minutes")
            for each in (who, "all"):  # before the slow check, so that many at once do not pass
                self._failed[each].append(self._clock())
        if self._users is not None:
            reader = self._users.check(name, password)
        else:
            same = self._token is not None and hmac.compare_digest(_digest(token), _digest(self._token))
            reader = self._single if same else None
        if reader is None:
            raise DeniedError("wrong token, name or password")
        secret, now = secrets.token_urlsafe(32), self._clock()
        session = Session(reader, secrets.token_urlsafe(32), now)
        with self._lock:
            self._failed.pop(who, None)
            self._failed["all"].pop()
            if len(self._sessions) >= _SESSIONS:
                del self._sessions[min(self._sessions, key=lambda each: self._sessions[each][1])]
            self._sessions[_digest(secret)] = (session, now)
        return secret, session

    def session(self, secret: str) -> Session:
        """Return the session of a cookie; a DeniedError if there is none, or it has ended."""
        with self._lock:
            now, key = self._clock(), _digest(secret)
            found, used = self._sessions.get(key, (None, 0.0))
            if found is None or now - used > _IDLE or now - found.began > _LONGEST or not self._known(found.reader):
                self._sessions.pop(key, None)
                raise DeniedError("log in first")
            self._sessions[key] = (found, now)
            return found

    def log_out(self, secret: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(secret), None)

    def _known(self, reader: Reader) -> bool:
        """Return whether a user is still there, in the same role."""
        return self._users is None or self._users.reader(reader.name) == reader

    def _recent(self, who: str) -> int:
        """Return how often somebody has failed of late."""
        times = self._failed[who]
        while times and self._clock() - times[0] > _WINDOW:
            times.popleft()
        if not times:
            del self._failed[who]
        return len(times)


def add_user(path: Path, name: str, role: Role, password: str) -> None:
    """Write a user into a file of users, which is made if it is not there; a known name gets the new password and role.

    Raises:
        DataError: if name or password do not fit, or the file is damaged.
    """
    users = require_name(path, name)
    if len(password) < _SHORTEST:
        raise DataError(f"the password has {len(password)} characters, expected at least {_SHORTEST}")
    user_file = _UsersFile(users={**users, name: _User(role=role, password=_hasher().hash(password))})
    write_json(path, user_file.model_dump())


def require_name(path: Path, name: str) -> dict[str, _User]:
    """Return the users in a file, none if it is not there, after checking that one of this name can be added.

    Raises:
        DataError: if the name does not fit, or the file is damaged.
    """
    if not re.fullmatch(_NAME, name):
        raise DataError(
            f"the user name '{name}' does not fit; it has 1 to 64 letters, digits, dots, dashes and underscores"
        )
    return _read_users(path) if path.exists() else {}


def _read_users(path: Path) -> dict[str, _User]:
    try:
        return _UsersFile.model_validate(read_json(path)).users
    except MissingFileError:
        raise
    except (DataError, ValidationError) as error:
        if isinstance(error, ValidationError):
            problem = ": ".join(first_problem(error))
        else:
            problem = str(error).rpartition("; ")[0].replace(f"'{path}'", "it")
        raise DataError(
            f"'{path}' is no file of users ({problem}); restore it from a backup, or name another"
        ) from error


def _hasher() -> "PasswordHasher":
    try:
        from argon2 import PasswordHasher
    except ModuleNotFoundError as error:
        raise MissingPackageError("users need the package argon2-cffi; pip install 'trustseg[review]'") from error
    return PasswordHasher()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
