"""Files of policies: strict reading, a threshold that may be infinite, and a digest."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from trustseg.errors import DataError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="DataclassInstance")

__all__ = ["DIGEST", "digest_of", "parse_fields", "sealed", "values_of"]

DIGEST: Final = "digest"
"""The key of the digest in the content of a policy."""


def digest_of(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of a policy's content without its digest, as JSON with sorted keys and no spaces.

    It is no signature: anybody who edits a file on purpose can compute it again.

    Example:
        >>> digest_of({"threshold": 0.2, "digest": "of something else"}) == digest_of({"threshold": 0.2})
        True
    """
    bare = {name: value for name, value in content.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(content: Mapping[str, object]) -> dict[str, object]:
    """Return a policy's content with its digest."""
    return {**content, DIGEST: digest_of(content)}


def values_of(policy: "DataclassInstance") -> dict[str, Any]:
    """Return the fields of a policy; an infinite threshold becomes text, as JSON has no infinity."""
    content = asdict(policy)
    return content | ({"threshold": str(content["threshold"])} if math.isinf(content["threshold"]) else {})


def parse_fields(kind: "type[Kind]", content: Mapping[str, object], refuse: Callable[[str], DataError]) -> "Kind":
    """Return the policy that the fields of a file describe.

    Args:
        kind: class of the policy, a dataclass with a ``threshold``.
        content: its fields, as JSON holds them.
        refuse: makes the error from the reason.

    Raises:
        DataError: if a field is missing, unknown, or of another type.
    """
    if odd := content.keys() ^ {field.name for field in fields(kind)}:
        raise refuse(f"missing or unknown: {', '.join(sorted(odd))}")
    if content["threshold"] in ("inf", "-inf"):
        content = {**content, "threshold": float(str(content["threshold"]))}
    try:  # as JSON, where a list may be a tuple but neither text nor true a number
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        found = error.errors()[0]
        raise refuse(f"{found['loc'][0]} {found['input']!r}, {found['msg'].lower()}") from error
