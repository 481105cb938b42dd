"""The words of a report that stand in data files."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from trustseg.yaml_files import parse_yaml

__all__ = ["texts_of"]


@cache
def texts_of(name: str) -> Mapping[str, Any]:
    """Return what a YAML file of the templates holds: ``figures``, ``tables`` or ``ai_act``."""
    file = resources.files("trustseg.reporting") / "templates" / f"{name}.yaml"
    found: Mapping[str, Any] = parse_yaml(file.read_text(encoding="utf-8"), where=f"'{file}'")
    return found
