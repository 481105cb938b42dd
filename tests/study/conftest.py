"""What every test of studies needs: a cache of its own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTSEG_CACHE", str(tmp_path / "cache"))
