"""Names of a reader's own for variants and conditions, and words for the first screen, instead of the study's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import ValidationError

from trustseg.config import ReportConfig
from trustseg.errors import ConfigError, first_problem, unknown_name
from trustseg.reporting.labels import describe_attack, describe_condition
from trustseg.reporting.results import Results
from trustseg.yaml_files import read_yaml

__all__ = ["OwnLabels", "load_labels", "with_labels"]

_SECTIONS: Final = ("variants", "conditions", "report")


@dataclass(frozen=True, slots=True)
class OwnLabels:
    """The usual name of a variant, a condition or an attack -> the name that is shown; and settings of ``report``."""

    variants: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)


def load_labels(path: Path, results: Results) -> OwnLabels:
    """Return what a YAML file holds: the sections ``variants`` and ``conditions``, each a map of texts, and ``report``.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if it holds anything else, a name that the report does not have, or one name for two.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or set(content) - set(_SECTIONS):
        got = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"'{path}' holds {got}; give the sections variants and conditions (name: label) and report")
    rows = results.records.select("condition", pl.col("eps").round(7)).unique(maintain_order=True).iter_rows()
    keys = [(str(name), float(eps)) for name, eps in rows]
    shown = [*map(describe_condition, keys), *(describe_attack(name) for name, eps in keys if eps > 0)]
    known = {"variants": results.variants, "conditions": list(dict.fromkeys(shown))}
    variants, conditions = (_checked(path, name, content.get(name), found) for name, found in known.items())
    return OwnLabels(variants, conditions, _words(path, content.get("report")))


def _words(path: Path, given: Any) -> dict[str, Any]:  # noqa: ANN401 - from YAML
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigError(f"'{path}', report: expected settings of a report, such as 'title: ...'")
    for name in given:
        if name not in ReportConfig.model_fields:
            raise ConfigError(f"'{path}', report: {unknown_name('key', name, ReportConfig.model_fields)}")
    try:
        ReportConfig.model_validate(given)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise ConfigError(f"'{path}', report.{key}: {problem}") from error
    return given


def _checked(path: Path, section: str, labels: Any, known: Iterable[str]) -> dict[str, str]:  # noqa: ANN401 - from YAML
    names = list(known)
    if labels is None:
        return {}
    if not isinstance(labels, dict) or not all(isinstance(text, str) and text.strip() for text in labels.values()):
        raise ConfigError(f"'{path}', {section}: expected 'name: label' with a text for each name")
    for name in labels:
        if name not in names:
            raise ConfigError(f"'{path}', {section}: {unknown_name('name', name, names)}")
    all_shown = [labels.get(name, name) for name in names]
    if twice := sorted({label for label in all_shown if all_shown.count(label) > 1}):
        raise ConfigError(f"'{path}', {section}: '{twice[0]}' stands for two names; give each a label of its own")
    return labels


def with_labels(results: Results, own: OwnLabels) -> Results:
    """Return results whose variants have other names, with other words for the report; conditions stay as they are."""
    labels = own.variants
    renamed = pl.col("variant").replace(dict(labels))
    cells = [cell.model_copy(update={"variant": labels.get(cell.variant, cell.variant)}) for cell in results.cells]
    missing = [replace(cell, variant=labels.get(cell.variant, cell.variant)) for cell in results.missing]
    tables = [
        table if table.is_empty() else table.with_columns(renamed) for table in (results.records, results.populations)
    ]
    study = {**results.study, "report": {**results.section("report"), **own.report}}
    return replace(
        results,
        study=study if own.report else results.study,
        cells=tuple(cells),
        missing=tuple(missing),
        records=tables[0],
        populations=tables[1],
    )
