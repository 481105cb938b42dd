"""Every training test has small networks on one thread."""

import pytest


@pytest.fixture(autouse=True)
def _small_and_tidy(small_and_tidy: None) -> None:
    """Ask for it once, for all of them."""
