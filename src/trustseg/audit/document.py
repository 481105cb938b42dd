"""``audit.json``: what an audit found, in a form that other programs read; its schema is shipped as JSON Schema."""

import json
import math
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trustseg.audit.breaking import Break
from trustseg.audit.findings import OperatingPoint
from trustseg.audit.verdicts import Verdict
from trustseg.errors import DataError, first_problem
from trustseg.files import read_json
from trustseg.statistics import Interval

__all__ = [
    "FORMAT",
    "DataEntry",
    "Document",
    "Estimate",
    "ModelEntry",
    "PlanEntry",
    "break_entry",
    "estimate",
    "point_entry",
    "read_document",
    "verdict_entry",
]

FORMAT: Final = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Part):
    """A value with its interval over patients."""

    value: float | None = Field(description="null where undefined")
    low: float | None = Field(description="null where there is no interval")
    high: float | None = Field(description="null where there is no interval")
    images: int
    patients: int


class VerdictEntry(_Part):
    """What the measurements say of a requirement."""

    metric: str
    condition: str
    subgroup: str | None
    at_least: float | None
    at_most: float | None
    confidence: float
    outcome: Literal["met", "not met", "not shown"]
    estimate: Estimate
    decisive_condition: str
    reason: str


class BreakEntry(_Part):
    """The mildest level of a shift or attack that lowers the mean Dice by 0.1, else the one that costs most."""

    condition: str
    eps: float
    kind: Literal["shift", "attack"]
    breaks: bool
    dice: float
    dice_drop: Estimate


class PointEntry(_Part):
    """What a threshold of the image score achieves on the patients that it was not chosen on."""

    share_aimed: float | None = Field(description="of the images that go to a human; null: the deferral policy")
    threshold: float | Literal["inf", "-inf"]
    scores: dict[str, Estimate]


class ModelEntry(_Part):
    """What was audited."""

    name: str
    digest: str
    tier: Literal[0, 1, 2] = Field(description="0: predictions, 1: a model without gradients, 2: with gradients")
    facts: list[str]


class DataEntry(_Part):
    """The images that it was audited on."""

    digest: str
    split: str
    size: int
    images: int
    patients: int
    with_foreground: int
    without_foreground: int
    without_reference: int
    notes: list[str]


class PlanEntry(_Part):
    """What was measured on changed images, and what the budget left out."""

    budget_seconds: float | None
    images: int
    shifts: list[str]
    severities: list[int]
    attacks: dict[str, list[float]]
    minimal: int
    masking_checks: int
    left_out: list[str]


class Document(_Part):
    """What an audit found."""

    format: Literal[1] = FORMAT
    trustseg: str = Field(description="version of trustseg")
    passed: bool = Field(description="whether all requirements are met")
    model: ModelEntry
    data: DataEntry
    plan: PlanEntry
    verdicts: list[VerdictEntry]
    remarks: list[str] = Field(default_factory=list, description="what bears on all verdicts, a sentence each")
    not_tested: dict[str, str] = Field(description="default requirement -> what this audit lacks to test it")
    metrics: dict[str, Estimate] = Field(description="metric -> value on unchanged images")
    breaks: list[BreakEntry]
    repeats: dict[str, float] = Field(description="way of running -> largest share of pixels whose decision changes")
    policy: str | None = Field(description="what the deferral policy promises")
    trust: list[PointEntry]


def estimate(interval: Interval) -> Estimate:
    """Return an interval as it is written."""
    value, low, high = (None if math.isnan(end) else end for end in (interval.value, interval.low, interval.high))
    return Estimate(value=value, low=low, high=high, images=interval.count, patients=interval.patients)


def verdict_entry(verdict: Verdict) -> VerdictEntry:
    """Return a verdict as it is written."""
    return VerdictEntry(
        **verdict.requirement.model_dump(),
        outcome=verdict.outcome,
        estimate=estimate(verdict.interval),
        decisive_condition=verdict.condition,
        reason=verdict.reason,
    )


def break_entry(found: Break) -> BreakEntry:
    """Return a change that breaks the model as it is written."""
    name, eps = found.condition
    return BreakEntry(
        condition=name, eps=eps, kind=found.kind, breaks=found.breaks, dice=found.dice, dice_drop=estimate(found.drop)
    )


def point_entry(point: OperatingPoint) -> PointEntry:
    """Return an operating point as it is written; JSON has no infinity."""
    infinite: Literal["inf", "-inf"] = "inf" if point.threshold > 0 else "-inf"
    return PointEntry(
        share_aimed=None if math.isnan(point.aimed) else point.aimed,
        threshold=infinite if math.isinf(point.threshold) else point.threshold,
        scores={name: estimate(interval) for name, interval in point.scores.items()},
    )


def read_document(path: Path) -> Document:
    """Return the content of an ``audit.json``; a DataError if it is damaged, or of another version."""
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise DataError(f"'{path}' has format {content.get('format')}, expected {FORMAT}; audit again")
    try:
        return Document.model_validate_json(json.dumps(content))
    except ValidationError as error:
        key, problem = first_problem(error)
        raise DataError(f"'{path}' is damaged ({key}: {problem}); audit again") from error
