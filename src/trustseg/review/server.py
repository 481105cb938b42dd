"""The web application of a review."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from trustseg.errors import MissingFileError, TrustsegError
from trustseg.review.access import LOCAL, DeniedError, LimitedError
from trustseg.review.actions import ForbiddenError, OutOfTurnError
from trustseg.review.guard import Guard
from trustseg.review.routes import AppContext, router
from trustseg.review.storage import RepeatedKeyError

__all__ = ["create_app"]

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
    """Return the application of a review.

    Args:
        context: what it serves.
        hosts: names that it answers to (header Host), against DNS rebinding.
    """
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
    app.add_middleware(Guard)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values
    return app


def _refuse(_: Request, error: Exception) -> Response:
    """Answer with the sentence of an error."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), 422)
    headers = {"retry-after": "300"} if code == 429 else None
    return JSONResponse({"detail": str(error)}, status_code=code, headers=headers)


def _explain(_: Request, error: Exception) -> Response:
    """Answer with what does not fit in a request, without repeating it: it may hold a password."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    parts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found]
    return JSONResponse({"detail": "; ".join(parts).encode(errors="replace").decode()}, status_code=422)
