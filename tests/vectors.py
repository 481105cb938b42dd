"""Test vectors kept beside the repository; tests that read them are skipped where the folder is absent."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "vectors"


def load_vectors(name: str) -> dict[str, Any]:
    """Return the kinds of ``name``.json: {kind: {definition, cases, ...}}; skip where it is absent."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no test vectors at ../shared/vectors/{name}.json")
    kinds: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["kinds"]
    return kinds
