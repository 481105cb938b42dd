"""Middleware of the server: a limit on bodies, and security headers."""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Guard"]

_SMALL: Final = 16 * 1024  # bytes of a request,
_LARGE: Final = 8 * 1024 * 1024  # and of one that may bring a drawn mask
_WITH_MASK: Final = ("/decision", "/adjudication")

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


class Guard:
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
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
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
