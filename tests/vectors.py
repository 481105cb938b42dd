"""Golden values, computed with 50 digits or in exact arithmetic, each kind with its definition."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"


def load_vectors(name: str) -> dict[str, Any]:
    """Return the kinds of ``golden/NAME.json``: {kind: {definition, cases, ...}}."""
    kinds: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["kinds"]
    return kinds
