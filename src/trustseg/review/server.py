"""The web application of a review: page, limits on bodies, security headers, and errors as sentences."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trustseg.errors import MissingFileError, TrustsegError
from trustseg.review.access import LOCAL, DeniedError, LimitedError
from trustseg.review.actions import ForbiddenError, OutOfTurnError
from trustseg.review.routes import AppContext, router
from trustseg.review.storage import RepeatedKeyError

__all__ = ["HEADERS", "create_app"]

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}
"""Sent with every answer."""

_SMALL: Final = 16 * 1024  # bytes of a request,
_LARGE: Final = 8 * 1024 * 1024  # and of one that may bring a drawn mask
_WITH_MASK: Final = ("/decision", "/adjudication")

_PAGE: Final = Path(__file__).parent / "static"
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_CODES: Final = {
    DeniedError: 401,
    ForbiddenError: 403,
    MissingFileError: 404,
    OutOfTurnError: 409,
    RepeatedKeyError: 409,
    LimitedError: 429,
}


def create_app(context: AppContext, *, hosts: Sequence[str] = LOCAL) -> FastAPI:
    """Return the application of a review; it answers to some names (header Host) only, against DNS rebinding."""
    app = FastAPI(title="trustseg review", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context = context
    app.include_router(router)
    files = {file.name: file.read_bytes() for file in sorted(_PAGE.iterdir())}

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(files["index.html"], media_type="text/html")

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        """Return one of the files that were read when the server started; the name is no path."""
        if name not in files:
            return JSONResponse({"detail": "no such file"}, status_code=404)
        return Response(files[name], media_type=_TYPES[Path(name).suffix])

    app.add_exception_handler(TrustsegError, _refuse)
    app.add_exception_handler(RequestValidationError, _explain)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(_Guard)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values
    return app


def _refuse(_: Request, error: Exception) -> Response:
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), 422)
    headers = {"retry-after": "300"} if code == 429 else None
    return JSONResponse({"detail": str(error)}, status_code=code, headers=headers)


def _explain(_: Request, error: Exception) -> Response:
    """Answer with what does not fit in a request, without repeating it: it may hold a password."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    parts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found]
    return JSONResponse({"detail": "; ".join(parts).encode(errors="replace").decode()}, status_code=422)


class _Guard:
    """Middleware that reads a body up to its limit before anything else does, and adds ``HEADERS`` to answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        limit = _LARGE if scope["path"].endswith(_WITH_MASK) else _SMALL
        body = await _body(receive, Headers(scope=scope), limit)
        if body is None:
            await JSONResponse({"detail": f"more than {limit:,} bytes"}, status_code=413)(scope, receive, guarded)
            return
        waiting = [body]

        async def replayed() -> Message:
            return {"type": "http.request", "body": waiting.pop()} if waiting else await receive()

        await self._app(scope, replayed, guarded)


async def _body(receive: Receive, headers: Headers, limit: int) -> bytes | None:
    """Return a request's body, None if it is longer than the limit, whatever its header says."""
    stated = headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > limit:
        return None
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > limit:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return body
