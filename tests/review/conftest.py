"""A folder of predictions, people who review them, and a review of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.review.given import ANN, BEN, CLEO, write_predictions

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from tests.review.serving import Page


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "out")


@pytest.fixture
def client(predictions: Path) -> "TestClient":
    """Return a client of a server of the review, not logged in."""
    pytest.importorskip("fastapi", reason="the extra 'review' is not installed")
    from tests.review.serving import serve

    return serve(predictions)


@pytest.fixture
def page(client: "TestClient") -> "Page":
    """Return a page that the only reader has logged in on."""
    from tests.review.serving import enter

    return enter(client)


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of two readers and an adjudicator."""
    pytest.importorskip("argon2", reason="the extra 'review' is not installed")
    from tests.review.serving import PASSWORD

    from trustseg.review.access import add_user

    path = tmp_path_factory.mktemp("users") / "users.json"
    for each in (ANN, BEN, CLEO):
        add_user(path, each.name, each.role, PASSWORD)
    return path
