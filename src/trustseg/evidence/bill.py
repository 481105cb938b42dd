"""The software bill of materials: trustseg and all packages that it needs, as installed, in CycloneDX."""

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement

from trustseg.errors import MissingPackageError

__all__ = ["bill_of_materials"]


def bill_of_materials(root: str = "trustseg") -> dict[str, Any]:
    """Return the installed packages that a package needs, extras left out, as CycloneDX 1.6.

    Raises:
        MissingPackageError: if the package itself is not installed, so that nothing says what it needs.

    Reference:
        ECMA-424, CycloneDX Bill of Materials, 1.6.
    """
    components = _closure(root)
    first, *others = components.values()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component(first, kind="application")},
        "components": [_component(each, kind="library") for each in others],
    }


def _closure(root: str) -> dict[str, Distribution]:
    """Return a package and all that it needs, by normalised name, sorted after the first."""
    found: dict[str, Distribution] = {}
    waiting = [root]
    while waiting:
        name = _normalised(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # needed on another system only
            continue
        needed = [Requirement(text) for text in found[name].requires or []]
        waiting += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    first = _normalised(root)
    if first not in found:
        raise MissingPackageError(f"{root} is not installed here, only found on the path; install it, for the SBOM")
    return {first: found[first], **{name: found[name] for name in sorted(found) if name != first}}


def _component(package: Distribution, *, kind: str) -> dict[str, Any]:
    name, about = _normalised(package.metadata["Name"]), package.metadata
    licence = next((str(about[field]) for field in ("License-Expression", "License") if field in about), "")
    component: dict[str, Any] = {
        "type": kind,
        "name": name,
        "version": package.version,
        "purl": f"pkg:pypi/{name}@{package.version}",
    }
    if licence and "\n" not in licence:
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
