"""The addresses of the server: cases by number, answers as JSON or PNG, writes that repeat a key change nothing."""

import json
from collections.abc import Mapping
from functools import lru_cache
from hmac import compare_digest
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Path, Request, Response

from trustseg.errors import MissingFileError
from trustseg.review.access import Authenticator, Session
from trustseg.review.actions import ForbiddenError, OutOfTurnError, Review
from trustseg.review.attacked import AttackedCase
from trustseg.review.bodies import Credentials, DecisionBody, RatingBody, SwitchBody, WithdrawalBody
from trustseg.review.cases import Case
from trustseg.review.pictures import deep_values, image_png
from trustseg.review.risk import RiskTable
from trustseg.review.state import Reader
from trustseg.review.summary import Values
from trustseg.review.views import case_view, entry_view, list_view, risk_view, session_view

__all__ = ["NO_RECORDS", "AppContext", "router"]

NO_RECORDS: Final = "no validation records were given (trustseg review --records RUN), so no risk is known"

router = APIRouter(prefix="/api")

_image, _thumbnail = lru_cache(16)(image_png), lru_cache(4096)(image_png)


class AppContext(NamedTuple):
    """What a server serves, and to whom."""

    review: Review
    auth: Authenticator
    risk: RiskTable | None  # None if no records were given
    attacked: Mapping[int, AttackedCase]  # by number of the case
    cookie: str  # name of the session's cookie
    secure: bool  # whether it is for HTTPS only
    target: str | None = None  # what the masks mark, in a word


def _context(request: Request) -> AppContext:
    found: AppContext = request.app.state.context
    return found


def _session(request: Request) -> Session:
    """Return who asks; for writes, only if the page that asks is ours and repeats the session's secret."""
    context = _context(request)
    session = context.auth.session(request.cookies.get(context.cookie, ""))
    if request.method != "GET":
        _require_own_page(request)
        if not compare_digest(request.headers.get("x-csrf-token", "").encode(errors="replace"), session.csrf.encode()):
            raise ForbiddenError("the header X-CSRF-Token is not that of this session; load the page again")
    return session


def _require_own_page(request: Request) -> None:
    origin = urlsplit(request.headers.get("origin", ""))
    if origin.scheme not in ("http", "https") or origin.netloc != request.headers.get("host"):
        raise ForbiddenError("this was not sent by the page of this server (header Origin)")


Context = Annotated[AppContext, Depends(_context)]
LoggedIn = Annotated[Session, Depends(_session)]
Number = Annotated[int, Path(ge=1, le=10**9)]
Layer = Literal["before", "after", "mask"]


@router.post("/session")
def log_in(body: Credentials, request: Request, response: Response, context: Context) -> Values:
    """Begin a session."""
    _require_own_page(request)
    secret, session = context.auth.log_in(token=body.token, name=body.name, password=body.password)
    response.set_cookie(context.cookie, secret, httponly=True, samesite="strict", secure=context.secure, path="/")
    return session_view(context.review, session.reader, session.csrf, target=context.target)


@router.get("/session")
def who(session: LoggedIn, context: Context) -> Values:
    """Return who is logged in."""
    return session_view(context.review, session.reader, session.csrf, target=context.target)


@router.delete("/session")
def log_out(request: Request, response: Response, _: LoggedIn, context: Context) -> Values:
    """End the session."""
    context.auth.log_out(request.cookies.get(context.cookie, ""))
    response.delete_cookie(context.cookie, path="/")
    return {}


@router.get("/login")
def login(context: Context) -> Values:
    """Return how to log in."""
    return {"password": context.auth.wants_password}


@router.get("/cases")
def cases(session: LoggedIn, context: Context) -> Values:
    """Return the work list."""
    with context.review.store.reading():
        return list_view(context.review, session.reader, context.risk)


@router.get("/risk")
def risk(_: LoggedIn, context: Context) -> Values:
    """Return the table of thresholds, or why there is none."""
    return {"why": NO_RECORDS} if context.risk is None else risk_view(context.risk)


@router.get("/cases/{number}")
def case(number: Number, session: LoggedIn, context: Context) -> Values:
    """Return a case."""
    with context.review.store.reading():
        found = case_view(context.review, context.review.folder.case(number), session.reader)
    recorded = context.attacked.get(number) if found["sees_mask"] else None
    return found | {"attacked": None if recorded is None else {"attack": recorded.attack, "side": recorded.side}}


@router.get("/cases/{number}/image", response_class=Response)
def image(number: Number, _: LoggedIn, context: Context) -> Response:
    """Return the image (PNG)."""
    return _png(_image(context.review.folder.case(number), white=context.review.folder.white))


@router.get("/cases/{number}/values", response_class=Response)
def values(number: Number, _: LoggedIn, context: Context) -> Response:
    """Return what an image of more than 8 bits holds (uint16, little-endian, row by row); of others nothing, code 204.

    The header ``trustseg-values`` tells as JSON what the values mean, see ``DeepImage``.
    """
    depth_image = deep_values(context.review.folder.case(number), white=context.review.folder.white)
    if depth_image is None:
        return Response(status_code=204)
    facts = depth_image._asdict() | {"channels": 3 if depth_image.stored.ndim == 3 else 1}
    shown = {name: facts[name] for name in ("slope", "intercept", "black", "white", "inverted", "channels")}
    return Response(
        depth_image.stored.astype("<u2").tobytes(),
        media_type="application/octet-stream",
        headers={"trustseg-values": json.dumps(shown)},
    )


@router.get("/cases/{number}/thumbnail", response_class=Response)
def thumbnail(number: Number, _: LoggedIn, context: Context) -> Response:
    """Return the image, small (PNG)."""
    return _png(_thumbnail(context.review.folder.case(number), white=context.review.folder.white, small=True))


@router.get("/cases/{number}/mask", response_class=Response)
def mask(number: Number, session: LoggedIn, context: Context) -> Response:
    """Return the predicted mask (PNG), once the reader may see it."""
    return _png(_visible_case(context, number, session.reader).mask.read_bytes())


@router.get("/cases/{number}/uncertainty", response_class=Response)
def uncertainty(number: Number, session: LoggedIn, context: Context) -> Response:
    """Return the uncertainty map (PNG), once the reader may see it."""
    return _png(_visible_case(context, number, session.reader).uncertainty.read_bytes())


@router.get("/cases/{number}/attacked/{layer}", response_class=Response)
def attacked(number: Number, layer: Layer, session: LoggedIn, context: Context) -> Response:
    """Return a picture that an evaluation recorded of the case (PNG), once the reader may see the mask."""
    recorded = context.attacked.get(_visible_case(context, number, session.reader).number)
    if recorded is None:
        raise MissingFileError(f"no evaluation has recorded case {number} under attack")
    return _png(recorded._asdict()[layer])


@router.get("/cases/{number}/drawn/{entry}", response_class=Response)
def drawn(number: Number, entry: Number, session: LoggedIn, context: Context) -> Response:
    """Return the mask (PNG) that came with a decision on the case, if the reader may see that decision."""
    with context.review.store.reading():
        view = case_view(context.review, context.review.folder.case(number), session.reader)
        shown = [*view["decisions"], *view["adjudications"]]
        names = [each.get("mask") for each in shown if each["number"] == entry]
        found = context.review.store.mask(names[0]) if names and names[0] else None
    if found is None:
        raise OutOfTurnError("there is no drawn mask that you may see with this number")
    return _png(found)


@router.post("/cases/{number}/rating")
def rate(number: Number, body: RatingBody, session: LoggedIn, context: Context) -> Values:
    """Keep how sure the reader is that there is foreground, before the mask is shown."""
    context.review.rate(number, session.reader, key=body.key, rating=body.rating, seconds=body.seconds)
    return case(number, session, context)


@router.post("/cases/{number}/decision")
def decide(number: Number, body: DecisionBody, session: LoggedIn, context: Context) -> Values:
    """Keep a decision."""
    context.review.decide(number, session.reader, body.verdict(), key=body.key)
    return case(number, session, context)


@router.post("/cases/{number}/adjudication")
def adjudicate(number: Number, body: DecisionBody, session: LoggedIn, context: Context) -> Values:
    """Settle a case on which two readers disagree."""
    context.review.adjudicate(number, session.reader, body.verdict(), key=body.key)
    return case(number, session, context)


@router.post("/cases/{number}/withdrawal")
def withdraw(number: Number, body: WithdrawalBody, session: LoggedIn, context: Context) -> Values:
    """Take back the reader's last decision."""
    context.review.withdraw(number, session.reader, key=body.key)
    return case(number, session, context)


@router.post("/switch")
def switch(body: SwitchBody, session: LoggedIn, context: Context) -> Values:
    """Send every case to a human from now on, or let the policy apply again."""
    return entry_view(context.review.switch(session.reader, key=body.key, stop=body.stop, reason=body.reason))


def _visible_case(context: AppContext, number: int, reader: Reader) -> Case:
    found = context.review.folder.case(number)
    with context.review.store.reading():
        if not context.review.state().sees_mask(number, reader):
            raise OutOfTurnError("rate the image first; the mask appears then")
    return found


def _png(data: bytes) -> Response:
    return Response(data, media_type="image/png")
