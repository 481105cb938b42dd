"""Configurations as a user gives them: files, overrides, and the words by which they are refused."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from trustseg.config import load_run, load_study
from trustseg.errors import TrustsegError


def written(folder: Path, text: str, name: str = "study.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def refusal(*overrides: str, study: Path | None = None) -> str:
    """Return the words by which overrides of the defaults, or of a study, are refused."""
    with pytest.raises(TrustsegError) as caught:
        load_study(study, overrides) if study else load_run(None, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    assert len(message) < 3000
    return message


def leaves(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every key that can be set on the command line."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        inner = field.annotation
        section = isinstance(inner, type) and issubclass(inner, BaseModel)
        keys += leaves(inner, f"{prefix}{name}.") if section and isinstance(inner, type) else [prefix + name]
    return keys
