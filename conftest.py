"""What pytest needs to run the examples of the docstrings."""

from importlib.util import find_spec

import pytest
import torch

# Importing it without the optional package raises the sentence that says so, see tests/art.
collect_ignore_glob = [] if find_spec("art") else ["src/trustseg/art/*.py"]
if not find_spec("fastapi"):
    collect_ignore_glob += [f"src/trustseg/review/{name}.py" for name in ("guard", "routes", "server")]


@pytest.fixture(autouse=True)
def _names_of_examples(doctest_namespace: dict[str, object]) -> None:
    """Let every example say ``torch``, also in modules that import a part of it only."""
    doctest_namespace["torch"] = torch
