"""Files of policies, ordinary or certified: strict reading, a threshold that may be infinite, and a digest.

A DataError that names the file is raised for one that holds no policy, was edited, or promises more than its numbers
can carry.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from trustseg.deferral.attacked_weights import MOST_DRAWS
from trustseg.deferral.certified import CertifiedPolicy, require_patients
from trustseg.deferral.policy import Policy
from trustseg.errors import ConfigError, DataError
from trustseg.files import read_json, write_json
from trustseg.former_names import current_aggregation

__all__ = [
    "content_of",
    "digest_of",
    "load_any_policy",
    "load_certified_policy",
    "load_policy",
    "parse_any_policy",
    "parse_policy",
    "save_policy",
    "sealed",
]

Kind = TypeVar("Kind", Policy, CertifiedPolicy)

_DIGEST: Final = "digest"
_CERTIFIED: Final = "certified deferral, version 1"


def save_policy(policy: Policy | CertifiedPolicy, path: Path) -> None:
    """Write a policy as JSON with its digest, whole or not at all."""
    write_json(path, content_of(policy))


def content_of(policy: Policy | CertifiedPolicy) -> dict[str, object]:
    """Return what ``save_policy`` writes; an infinite threshold becomes text, as JSON has no infinity."""
    content = asdict(policy)
    if math.isinf(policy.threshold):
        content["threshold"] = str(policy.threshold)
    if isinstance(policy, CertifiedPolicy):
        content = {"kind": _CERTIFIED, **content, "statement": policy.statement}
    return sealed(content)


def load_policy(path: Path) -> Policy:
    """Return the ordinary policy in a JSON file."""
    return parse_policy(read_json(path), path)


def load_certified_policy(path: Path) -> CertifiedPolicy:
    """Return the certified policy in a JSON file."""
    return _parse_certified(read_json(path), path)


def load_any_policy(path: Path) -> Policy | CertifiedPolicy:
    """Return the policy of either kind in a JSON file."""
    return parse_any_policy(read_json(path), path)


def parse_any_policy(content: Mapping[str, object], path: Path) -> Policy | CertifiedPolicy:
    """Return the policy that a file, or a part of it, holds; errors name the ``path``."""
    return _parse_certified(content, path) if _is_certified(content) else parse_policy(content, path)


def parse_policy(content: Mapping[str, object], path: Path) -> Policy:
    """Return the ordinary policy that a file, or a part of it, holds; errors name the ``path``."""
    if _is_certified(content):
        raise DataError(
            f"'{path}' is a certified policy, which decides on noisy images; apply it with 'trustseg predict --policy'"
        )
    expected = digest_of(content)
    content = {"model": "", "reference_scores": [], "group": "", **content}
    digest = content.pop(_DIGEST, expected)  # policies of older versions have none
    if "patients_hash" in content:  # of an older version
        content["patient_hashes"] = [content.pop("patients_hash")]
    if isinstance(name := content.get("aggregation"), str):
        content["aggregation"] = current_aggregation(name)
    policy = _parsed(Policy, content, path)
    if digest != expected:
        raise _no_policy(Policy, path, "its digest is not that of its content: it was edited")
    return policy


def _parse_certified(content: Mapping[str, object], path: Path) -> CertifiedPolicy:
    refuse = partial(_no_policy, CertifiedPolicy, path)
    expected, content = digest_of(content), dict(content)
    kind, statement, digest = (content.pop(name, None) for name in ("kind", "statement", _DIGEST))
    if kind != _CERTIFIED:
        raise refuse(f"kind is {kind!r}, expected {_CERTIFIED!r}")
    policy = _parsed(CertifiedPolicy, content, path)
    about = {"at_most": policy.at_most, "radius": policy.radius, "noise": policy.noise}
    try:
        level = require_patients(policy.patients, **about, delta=policy.delta, draws=policy.draws)
    except (ConfigError, DataError) as error:
        raise refuse(str(error)) from error
    if not math.isclose(level, policy.level, rel_tol=1e-6):
        raise refuse(f"level is {policy.level:g}, its bound, radius and noise give {level:g}")
    if policy.reference_scores and not _keeps_its_share(policy):
        raise refuse(
            f"threshold {policy.threshold:g} and {policy.kept:.3g} of images kept do not go with its reference_scores"
        )
    if statement != policy.statement:
        raise refuse("its statement says something else than its numbers")
    if digest != expected:
        raise refuse("its digest is not that of its content: it was edited, or is of an older version")
    return policy


def _is_certified(content: Mapping[str, object]) -> bool:
    """Return whether a policy's content says that it is certified, in whatever version."""
    return str(content.get("kind", "")).startswith("certified")


def _keeps_its_share(policy: CertifiedPolicy) -> bool:
    """Return whether threshold, scores of one image of each patient, and share of kept images can be of one set."""
    decided, reference = policy.images * policy.draws, len(policy.reference_scores)
    reviewed = int(policy.review(policy.reference_scores).sum())
    kept = policy.kept * decided
    return reference == policy.patients and reference - reviewed <= kept + 1e-6 and kept <= decided - reviewed + 1e-6


def _parsed(kind: type[Kind], content: Mapping[str, object], path: Path) -> Kind:
    """Return the policy that the fields of a file describe, all there, of their types and within their ranges."""
    if odd := content.keys() ^ {field.name for field in fields(kind)}:
        raise _no_policy(kind, path, f"missing or unknown: {', '.join(sorted(odd))}")
    if content["threshold"] in ("inf", "-inf"):
        content = {**content, "threshold": float(str(content["threshold"]))}
    try:  # as JSON, where a list may be a tuple but neither text nor true a number
        policy = TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        found = error.errors()[0]
        raise _no_policy(kind, path, f"{found['loc'][0]} {found['input']!r}, {found['msg'].lower()}") from error
    if wrong := [name for name, fits in _ranges(policy).items() if not fits]:
        listed = ", ".join(f"{name} {getattr(policy, name):g}" for name in wrong)
        raise _no_policy(kind, path, f"out of range: {listed}")
    return policy


def _ranges(policy: Policy | CertifiedPolicy) -> dict[str, bool]:
    """Return whether each number of a policy lies in its range."""
    fits = {
        "threshold": not math.isnan(policy.threshold),
        "at_most": 0 < policy.at_most < 1,
        "tau": 0 < policy.tau <= 1,
        "delta": policy.delta is None or 0 < policy.delta < 1,
        "images": policy.images >= 1,
        "patients": 1 <= policy.patients <= policy.images,
    }
    if isinstance(policy, CertifiedPolicy):
        fits |= {
            "radius": 0 <= policy.radius < math.inf,
            "noise": 0 < policy.noise < math.inf,
            "level": 0 < policy.level < 1,
            "size": policy.size >= 1,
            "draws": 1 <= policy.draws <= MOST_DRAWS,
            "channels": policy.channels in (1, 3),
            "kept": 0 <= policy.kept <= 1,
        }
    return fits


def _no_policy(kind: type[Policy | CertifiedPolicy], path: Path, reason: str) -> DataError:
    what, command = ("certified policy", "certify") if kind is CertifiedPolicy else ("policy", "fit")
    return DataError(f"'{path}' is no {what} ({reason}); write it with 'trustseg defer {command}'")


def digest_of(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of a policy's content without its digest, as JSON with sorted keys and no spaces.

    It is no signature: anybody who edits a file on purpose can compute it again.
    """
    bare = {name: value for name, value in content.items() if name != _DIGEST}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(content: Mapping[str, object]) -> dict[str, object]:
    """Return a policy's content with its digest."""
    return {**content, _DIGEST: digest_of(content)}
