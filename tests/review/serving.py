"""A server in this process, and clients that behave as the page does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi.testclient import TestClient

from trustseg.review.access import Authenticator, Users
from trustseg.review.actions import Review
from trustseg.review.attacked import AttackedCase
from trustseg.review.cases import open_cases
from trustseg.review.risk import RiskTable
from trustseg.review.routes import AppContext
from trustseg.review.server import create_app
from trustseg.review.state import Reader, Settings
from trustseg.review.verify import open_store

TOKEN = "token-of-this-test"
HERE = "http://127.0.0.1:8765"
PASSWORD = "correct horse battery"

PATHS = [
    "",
    "static/main.js",
    "api/login",
    "api/session",
    "api/cases",
    "api/risk",
    "api/cases/1",
    "api/cases/1/image",
    "nowhere",
]
READS = [
    "session",
    "cases",
    "risk",
    "cases/1",
    "cases/1/image",
    "cases/1/values",
    "cases/1/thumbnail",
    "cases/1/mask",
    "cases/1/uncertainty",
    "cases/1/drawn/3",
    "cases/1/attacked/after",
]
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
    risk: RiskTable | None = None,
    attacked: Mapping[int, AttackedCase] | None = None,
    **settings: Any,  # noqa: ANN401 - of Settings
) -> TestClient:
    """Return a client of a new server, not logged in."""
    review = Review(open_cases(folder), open_store(folder), Settings(**settings))
    auth = Authenticator(
        token=None if users else TOKEN, users=Users(users) if users else None, single=Reader("reviewer", "admin")
    )
    app = create_app(AppContext(review, auth, risk, attacked or {}, "trustseg_review_8765", False))
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

    def post(self, path: str, *, key: str | None = None, **content: object) -> Any:  # noqa: ANN401 - of the client's own kind
        headers = {"origin": HERE, "x-csrf-token": self.csrf}
        return self.client.post(f"/api/{path}", json={"key": key or str(uuid4()), **content}, headers=headers)


def enter(client: TestClient, **credentials: str) -> Page:
    """Log in with the token, or as somebody."""
    answer = client.post("/api/session", json=credentials or {"token": TOKEN}, headers={"origin": HERE})
    assert answer.status_code == 200, answer.text
    return Page(client, answer.json()["csrf"])
