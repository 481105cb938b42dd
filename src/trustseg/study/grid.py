"""The cells of a study: every combination of the grid's values, each named by what it is made from."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from trustseg import __version__
from trustseg.config import RunConfig, StudyConfig, with_values
from trustseg.errors import ConfigError

__all__ = ["REPETITIONS", "Cell", "cells_of"]

# Keys that repeat a measurement rather than change what is measured.
REPETITIONS = ("data.fold", "training.seed")
# Keys that change how fast a cell is computed, or where, and not what comes out.
INDIFFERENT = ("data.path", "training.accelerator", "training.devices", "training.logger")
_LONGEST = 120  # characters of a folder's name before its fingerprint


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its evaluation.

    Attributes:
        name: folder name; the same for the same training, data and version, wherever they lie.
        variant: what is compared, in words: the grid's values without fold and seed.
        values: the grid's keys and this cell's values.
        config: the whole run.
    """

    name: str
    variant: str
    values: Mapping[str, object]
    config: RunConfig


def cells_of(study: StudyConfig, *, data_digest: str) -> list[Cell]:
    """Return the cells of a study, repetitions varying slowest, so that a first answer comes early.

    Args:
        study: run and grid.
        data_digest: digest of the pack; other data, other cells.

    Raises:
        ConfigError: if a grid key is unknown, a value does not fit, or two cells are the same.
    """
    combinations = study.combinations()
    for key in reversed(REPETITIONS):
        seen = list(dict.fromkeys(values.get(key) for values in combinations))
        combinations.sort(key=lambda values: seen.index(values.get(key)))
    cells = [_cell(study, values, data_digest) for values in combinations]
    fingerprints = [cell.name.rpartition("-")[2] for cell in cells]  # 4/255 and 0.01568... make one cell
    for cell, fingerprint in zip(cells, fingerprints, strict=True):
        if fingerprints.count(fingerprint) > 1:
            raise ConfigError(
                f"the grid gives '{cell.name}' twice, each cell was expected once; remove repeated values"
            )
    return cells


def _cell(study: StudyConfig, values: dict[str, object], data_digest: str) -> Cell:
    config = with_values(study, values)
    variant = ", ".join(_word(key, value) for key, value in values.items() if key not in REPETITIONS)
    variant = variant or f"{config.model.head}, {config.adversarial.selection}"
    parts = [variant]
    if config.data.fold is not None:
        parts.append(f"fold{config.data.fold}")
    parts.append(f"seed{config.training.seed}")
    slug = re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-")[:_LONGEST]
    return Cell(f"{slug}-{_fingerprint(config, data_digest)}", variant, values, config)


def _word(key: str, value: object) -> str:
    """Return how a value reads in a variant's name; head and selection speak for themselves."""
    plain = key in ("model.head", "adversarial.selection", "model.architecture", "model.encoder")
    return str(value) if plain else f"{key.split('.')[-1]}={value}"


def _fingerprint(config: RunConfig, data_digest: str) -> str:
    # Measured otherwise, a cell trains no second time. Defaults are left out: a new key renames no old cell.
    content = config.model_dump(mode="json", exclude={"evaluation"}, exclude_defaults=True)
    for key in INDIFFERENT:
        section, name = key.split(".")
        content.get(section, {}).pop(name, None)
    content = {section: values for section, values in content.items() if values}
    text = json.dumps([__version__, content, data_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
