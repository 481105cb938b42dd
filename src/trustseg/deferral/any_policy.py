"""Policies of either kind, ordinary or certified, as files hold them."""

from collections.abc import Mapping
from pathlib import Path

from trustseg.deferral.certified_policy import CertifiedPolicy, certified_content, is_certified, parse_certified_policy
from trustseg.deferral.policy import Policy, parse_policy, policy_content
from trustseg.files import read_json

__all__ = ["content_of", "load_any_policy", "parse_any_policy"]


def content_of(policy: Policy | CertifiedPolicy) -> dict[str, object]:
    """Return what is written of a policy."""
    return certified_content(policy) if isinstance(policy, CertifiedPolicy) else policy_content(policy)


def load_any_policy(path: Path) -> Policy | CertifiedPolicy:
    """Return the policy in a JSON file; a DataError if it holds none."""
    return parse_any_policy(read_json(path), path)


def parse_any_policy(content: Mapping[str, object], path: Path) -> Policy | CertifiedPolicy:
    """Return the policy that a file, or a part of it, holds; a DataError that names the ``path`` if it holds none."""
    return parse_certified_policy(content, path) if is_certified(content) else parse_policy(content, path)
