"""A digest of what the file of a policy holds, by which an edited one is told from one that was fitted."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

__all__ = ["DIGEST", "digest_of", "sealed"]

DIGEST: Final = "digest"
"""The key of the digest in the content of a policy."""


def digest_of(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of a policy's content without its digest, as JSON with sorted keys and no spaces.

    It is no signature: whoever edits a file on purpose can compute it again.

    Example:
        >>> digest_of({"threshold": 0.2, "digest": "of something else"}) == digest_of({"threshold": 0.2})
        True
    """
    bare = {name: value for name, value in content.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(content: Mapping[str, object]) -> dict[str, object]:
    """Return a policy's content with its digest."""
    return {**content, DIGEST: digest_of(content)}
