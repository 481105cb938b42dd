"""A server in this process, and clients that behave as the page does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi.testclient import TestClient
from tests.review.given import review_of

from trustseg.review.access import Authenticator, Users
from trustseg.review.routes import AppContext
from trustseg.review.server import create_app
from trustseg.review.state import Reader

TOKEN = "token-of-this-test"
HERE = "http://127.0.0.1:8765"
PASSWORD = "correct horse battery"
COOKIE = "trustseg_review_8765"

PICTURES = ("image", "values", "thumbnail", "mask", "uncertainty", "drawn/3", "attacked/after")
READS = ["session", "cases", "risk", "cases/1", *(f"cases/1/{name}" for name in PICTURES)]
PATHS = ["", "static/main.js", "nowhere", "api/login", *(f"api/{path}" for path in READS[:5])]
WRITES: list[tuple[str, dict[str, object]]] = [
    ("cases/1/rating", {"rating": 3, "seconds": 1}),
    ("cases/1/decision", {"decision": "accept", "seconds": 1}),
    ("cases/1/adjudication", {"decision": "accept", "seconds": 1}),
    ("cases/1/withdrawal", {}),
    ("switch", {"stop": True}),
]


def serve(
    folder: Path,
    *,
    users: Path | None = None,
    attacked: Any = None,  # noqa: ANN401 - of AppContext
    **settings: Any,  # noqa: ANN401 - of Settings
) -> TestClient:
    """Return a client of a new server, not logged in."""
    auth = Authenticator(
        token=None if users else TOKEN, users=Users(users) if users else None, single=Reader("reviewer", "admin")
    )
    app = create_app(AppContext(review_of(folder, **settings), auth, None, attacked or {}, COOKIE, False))
    return TestClient(app, base_url=HERE, raise_server_exceptions=False)


def another(client: TestClient) -> TestClient:
    """Return another client of the same server, with cookies of its own."""
    return TestClient(client.app, base_url=HERE, raise_server_exceptions=False)


@dataclass
class Page:
    """A page that somebody has logged in on."""

    client: TestClient
    csrf: str

    def get(self, path: str) -> Any:  # noqa: ANN401 - of the client's own kind
        return self.client.get(f"/api/{path}")

    @property
    def headers(self) -> dict[str, str]:
        return {"origin": HERE, "x-csrf-token": self.csrf}

    def post(self, path: str, *, key: str | None = None, **content: object) -> Any:  # noqa: ANN401 - of the client's own kind
        return self.client.post(f"/api/{path}", json={"key": key or str(uuid4()), **content}, headers=self.headers)


def log_in(client: TestClient, **credentials: str) -> Any:  # noqa: ANN401 - of the client's own kind
    """Return the answer to a log-in with the token, or as given."""
    return client.post("/api/session", json=credentials or {"token": TOKEN}, headers={"origin": HERE})


def enter(client: TestClient, **credentials: str) -> Page:
    """Log in with the token, or as somebody."""
    answer = log_in(client, **credentials)
    assert answer.status_code == 200, answer.text
    return Page(client, answer.json()["csrf"])
