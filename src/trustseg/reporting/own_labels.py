"""A reader's own labels instead of the usual ones, from a file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from trustseg.config import ReportConfig
from trustseg.errors import ConfigError, first_problem, unknown_name
from trustseg.reporting.labels import describe_attack, describe_condition, with_entry_labels
from trustseg.yaml_files import read_yaml

if TYPE_CHECKING:
    from trustseg.reporting.results import Results

__all__ = ["OwnLabels", "load_labels", "with_labels"]

_Label = Annotated[str, StringConstraints(strict=True, pattern=r"\S")]


class OwnLabels(BaseModel):
    """The usual name of a variant, a condition or an attack -> the name that is shown; and settings of ``report``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: dict[str, _Label] = {}
    conditions: dict[str, _Label] = {}
    report: dict[str, Any] = {}


def load_labels(path: Path, results: "Results") -> OwnLabels:
    """Return what a YAML file holds: the sections ``variants`` and ``conditions``, each a map of texts, and ``report``.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if it holds anything else, a name that the report does not have, or one name for two.
    """
    content = read_yaml(path)
    if isinstance(content, dict):
        content = {section: given for section, given in content.items() if given is not None}
    try:
        loaded = OwnLabels.model_validate(content)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise ConfigError(
            f"'{path}'{key and f', {key}'}: {problem}; give maps of names to labels as variants and conditions, and "
            "settings as report"
        ) from error
    given = {with_entry_labels(name): label for name, label in loaded.conditions.items()}  # shifts once had no labels
    loaded = loaded.model_copy(update={"conditions": given})
    rows = results.records.select("condition", pl.col("eps").round(7)).unique(maintain_order=True).iter_rows()
    keys = [(str(name), float(eps)) for name, eps in rows]
    shown = [*map(describe_condition, keys), *(describe_attack(name) for name, eps in keys if eps > 0)]
    known = {"variants": results.variants, "conditions": list(dict.fromkeys(shown))}
    for section, names in {**known, "report": list(ReportConfig.model_fields)}.items():
        labels = getattr(loaded, section)
        for name in labels:
            if name not in names:
                raise ConfigError(f"'{path}', {section}: {unknown_name('name', name, names)}")
        all_shown = [labels.get(name, name) for name in names] if section in known else []
        if twice := sorted({label for label in all_shown if all_shown.count(label) > 1}):
            raise ConfigError(f"'{path}', {section}: '{twice[0]}' stands for two names; give each a label of its own")
    try:
        ReportConfig.model_validate(loaded.report)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise ConfigError(f"'{path}', report.{key}: {problem}") from error
    return loaded


def with_labels(results: "Results", own: OwnLabels) -> "Results":
    """Return results whose variants have other names, with other words for the report; conditions stay as they are."""

    def renamed(table: pl.DataFrame) -> pl.DataFrame:
        return table if table.is_empty() else table.with_columns(pl.col("variant").replace(own.variants))

    return replace(
        results,
        study={**results.study, "report": {**results.section("report"), **own.report}} if own.report else results.study,
        cells=tuple(
            cell.model_copy(update={"variant": own.variants.get(cell.variant, cell.variant)}) for cell in results.cells
        ),
        missing=tuple(replace(cell, variant=own.variants.get(cell.variant, cell.variant)) for cell in results.missing),
        records=renamed(results.records),
        populations=renamed(results.populations),
    )
