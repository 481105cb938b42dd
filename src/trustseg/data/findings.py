"""Findings of a check: sentences with a severity and the names concerned."""

from dataclasses import dataclass
from typing import Literal

from trustseg.text import first_of

__all__ = ["Finding", "Severity", "finding_of"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a dataset's owner should know.

    Attributes:
        severity: ``error`` (training refuses or its numbers would lie), ``warning`` (look at it) or ``note``.
        kind: a fixed word for programs, e.g. ``patient_leak``.
        message: a sentence with what was found and what to do.
        names: the files, cases or patients concerned.
    """

    severity: Severity
    kind: str
    message: str
    names: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The message without names, for a pack."""
        return self.message.replace(_shown(self.names), "")


def finding_of(severity: Severity, kind: str, names: tuple[str, ...], what: str, advice: str) -> Finding:
    """Return a finding that says what there is, how many and the first names, and what to do or to know."""
    return Finding(severity, kind, f"{what}: {len(names):,}{_shown(names)}; {advice}", names)


def _shown(names: tuple[str, ...]) -> str:
    return f" ({first_of(names)})"
