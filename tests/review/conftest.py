"""A folder of predictions, and a review of it."""

from pathlib import Path

import pytest
from tests.review.given import write_predictions


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "out")
