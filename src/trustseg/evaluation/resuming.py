"""Results that are computed once: those of the same model, images and settings are kept."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from trustseg import __version__
from trustseg.files import read_json
from trustseg.models import BeliefModel

__all__ = ["fingerprint_of", "is_finished"]


def fingerprint_of(model: BeliefModel, *settings: object) -> str:
    """Return a short hash of a model's weights and of everything else that a result follows from."""
    about = json.dumps([__version__, *settings]).encode()
    return hashlib.sha256(about + model.weights()).hexdigest()[:16]


def is_finished(note: Path, fingerprint: str, files: Iterable[Path]) -> bool:
    """Return whether all files are there, and a JSON file says that they are those of a fingerprint."""
    return all(file.exists() for file in (note, *files)) and read_json(note).get("fingerprint") == fingerprint
