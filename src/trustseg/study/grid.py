"""The cells of a study: combinations of the grid's values and mixtures of their models, named by what made them."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trustseg import __version__
from trustseg.config import MixtureConfig, RunConfig, StudyConfig, with_values
from trustseg.config.privacy import settings_without_folders
from trustseg.entries import written
from trustseg.errors import ConfigError
from trustseg.run_files import MixtureDescription

__all__ = ["INDIFFERENT", "REPETITIONS", "Cell", "cells_of"]

# Keys that repeat a measurement rather than change what is measured.
REPETITIONS = ("data.fold", "training.seed")
# Keys that change how fast a cell is computed, or where, and not what comes out.
INDIFFERENT = (
    *("data.path", "data.target", "data.residence"),
    *("training.accelerator", "training.devices", "training.logger"),
)
# Part of every fingerprint. To be raised when the same configuration trains another model under the same version: a
# default is changed, say, which the fingerprint leaves out, or a key gets another meaning.
TRAINING_SCHEMA: Final = 4
_LONGEST = 120  # characters of a folder's name before its fingerprint


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its evaluation, or the evaluation of a mixture.

    Attributes:
        name: folder name; the same for the same training, data and version, wherever they lie.
        variant: what is compared, in words: the grid's values without fold and seed.
        values: the grid's keys and this cell's values.
        config: the whole run; of a mixture, that of its first member.
        mixture: what is measured instead of training, if anything.
    """

    name: str
    variant: str
    values: Mapping[str, object]
    config: RunConfig
    mixture: MixtureDescription | None = None


def cells_of(study: StudyConfig, *, data_digest: str) -> list[Cell]:
    """Return the cells of a study, repetitions varying slowest, so that a first answer comes early; mixtures are last.

    Args:
        study: run, grid and mixtures.
        data_digest: digest of the pack; other data, other cells.

    Raises:
        ConfigError: if a grid key is unknown or of the evaluation, a value does not fit, two cells are the same, or two
            that differ would have one name.
    """
    _require_training_keys(study)
    combinations = study.combinations()
    for key in reversed(REPETITIONS):
        seen = list(dict.fromkeys(values.get(key) for values in combinations))
        combinations.sort(key=lambda values: seen.index(values.get(key)))
    cells = [_cell(values, with_values(study, values), data_digest) for values in combinations]
    trained: dict[str, Cell] = {}
    named: dict[tuple[str, int | None, int], Cell] = {}
    for cell in cells:
        first = trained.setdefault(cell.name.rpartition("-")[2], cell)  # 4/255 and 0.01568... make one cell
        if first is not cell:
            raise ConfigError(_twice(first, cell))
        first = named.setdefault((cell.variant, cell.config.data.fold, cell.config.training.seed), cell)
        if first is not cell:
            raise ConfigError(_namesakes(first, cell))
    return [*cells, *_mixtures(study.mixtures, cells)]


def _require_training_keys(study: StudyConfig) -> None:
    for key in (key for grid in study.grid for key in grid):
        if key.startswith("evaluation."):
            raise ConfigError(
                f"evaluation keys cannot vary, all models are evaluated alike; set {key} outside the grid"
            )


def _twice(first: Cell, second: Cell) -> str:
    """Return why two cells of one fingerprint are one too many."""
    if first.config.adversarial != second.config.adversarial:  # and yet they train the same
        return (
            f"the grid gives '{first.name}' twice, also as '{second.variant}': with adversarial.selection=none the "
            "other attack settings have no effect; give adversarial.selection=[none] a grid of its own"
        )
    return f"the grid gives '{first.name}' twice; remove repeated values"


def _namesakes(first: Cell, second: Cell) -> str:
    """Return why two cells that differ may not have one name: a report would take them for one variant."""
    keys = " and ".join(", ".join(key for key in cell.values if key not in REPETITIONS) for cell in (first, second))
    return (
        f"the grids give two different trainings the same name '{first.variant}' (they vary {keys}); "
        "give in both grids every key in which they differ"
    )


def _mixtures(wanted: MixtureConfig, cells: Sequence[Cell]) -> Iterator[Cell]:
    """Yield the mixtures of each variant and fold: of all its seeds, and of the first."""
    groups: dict[tuple[str, int | None], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.variant, cell.config.data.fold), []).append(cell)
    for group in groups.values():
        names = [cell.name for cell in group]
        if wanted.ensemble:
            # The default rate is written down, as it was in the first cells.
            yield _mixture(group[0], f"ensemble of {len(names)}", MixtureDescription(members=names, dropout=0.2))
        if wanted.mc_dropout:
            sampled = MixtureDescription(members=names[:1], samples=wanted.mc_dropout, dropout=wanted.dropout)
            yield _mixture(group[0], f"MC dropout {wanted.mc_dropout}", sampled)


def _mixture(first: Cell, kind: str, mixture: MixtureDescription) -> Cell:
    variant = f"{first.variant}, {kind}"
    text = json.dumps([mixture.members, mixture.samples, mixture.dropout if mixture.samples else None])
    name = f"{_slug(variant, first.config.data.fold)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return Cell(name, variant, first.values, first.config, mixture)


def _cell(values: Mapping[str, object], config: RunConfig, data_digest: str) -> Cell:
    plain = settings_without_folders({key: value for key, value in values.items() if key not in REPETITIONS})
    variant = ", ".join(_word(key, str(written(value))) for key, value in plain.items())
    variant = variant or f"{config.model.head}, {config.adversarial.selection}"
    slug = _slug(variant, config.data.fold, f"seed{config.training.seed}")
    return Cell(f"{slug}-{_fingerprint(config, data_digest)}", variant, values, config)


def _slug(variant: str, fold: int | None, *details: str) -> str:
    """Return the readable part of a folder's name."""
    parts = [variant, *([] if fold is None else [f"fold{fold}"]), *details]
    return re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-")[:_LONGEST]


def _word(key: str, value: str) -> str:
    """Return how a value reads in a variant's name; head and selection speak for themselves."""
    plain = key in ("model.head", "adversarial.selection", "model.architecture", "model.encoder")
    return value if plain else f"{key.split('.')[-1]}={value}"


def _fingerprint(config: RunConfig, data_digest: str) -> str:
    # Measured otherwise, a cell trains no second time. Defaults are left out: a new key renames no old cell.
    content = config.model_dump(mode="json", exclude={"evaluation"}, exclude_defaults=True)
    for key in INDIFFERENT:
        section, name = key.split(".")
        content.get(section, {}).pop(name, None)
    if config.adversarial.selection == "none":  # of this section only the budget of the robust validation is left
        content["adversarial"] = {key: value for key, value in content.get("adversarial", {}).items() if key == "eps"}
    content = {section: values for section, values in content.items() if values}
    text = json.dumps([TRAINING_SCHEMA, __version__, content, data_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
