"""What a study will take before it is begun: its cells, the passes through a network, the hours."""

import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from trustseg.attacks import ATTACKS, backward_passes
from trustseg.config import AttackConfig, RunConfig, StudyConfig
from trustseg.data import open_dataset
from trustseg.evaluation import conditions_of, rows_of_split
from trustseg.files import read_json
from trustseg.losses import LOSSES
from trustseg.models import build_segmenter
from trustseg.study.cell import device_of
from trustseg.study.grid import Cell, cells_of
from trustseg.study.runner import study_status
from trustseg.training.passes import epoch_passes

__all__ = ["Plan", "PlannedVariant", "passes_of_attack", "plan_study"]

_FORWARD = 1 / 3  # of the work of a forward and a backward pass
_VALIDATION_SHARE = 0.2  # of validation passes nothing is known before the split


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """The cells of one variant.

    Attributes:
        variant: what is compared, in words.
        cells: how many trainings, or mixtures.
        done: how many of them are done.
        training: passes of one image, forward and backward, of all its trainings; a forward pass counts a third.
        evaluation: the same of its evaluations.
        seconds: time that the cells which are not done take on one worker; NaN if unknown.
    """

    variant: str
    cells: int
    done: int
    training: float
    evaluation: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a study and what they take.

    Attributes:
        variants: by variant, in the order of the grid.
        basis: what the time comes from: "finished cells" or "one step".
    """

    variants: tuple[PlannedVariant, ...]
    basis: str

    @property
    def seconds(self) -> float:
        """Time of all that is not done, on one worker."""
        return sum(variant.seconds for variant in self.variants)


def plan_study(config: StudyConfig, folder: Path) -> Plan:
    """Return what a study will take; writes nothing.

    Args:
        config: the study.
        folder: where it lives or will live; the time of cells that are done there is what others are judged by.

    Raises:
        ConfigError: if two cells are the same.
        DataError: if the data cannot be read or split.
    """
    cells = cells_of(config, data_digest="")
    images = _images(config, cells)
    passes = {
        cell.name: (
            0.0 if cell.mixture else _training_passes(cell.config, images[cell.name][0]),
            _tested(cell, images) * (cell.mixture.passes if cell.mixture else 1),
        )
        for cell in cells
    }
    done, seconds = _finished(folder)
    spent = sum(sum(passes[cell.name]) for cell in cells if _place(cell) in done)
    rate = seconds / spent if spent > 0 else _seconds_a_pass(cells[0].config)
    variants = []
    for variant in dict.fromkeys(cell.variant for cell in cells):
        members = [cell for cell in cells if cell.variant == variant]
        left = [cell for cell in members if _place(cell) not in done]
        variants.append(
            PlannedVariant(
                variant,
                cells=len(members),
                done=len(members) - len(left),
                training=sum(passes[cell.name][0] for cell in members),
                evaluation=sum(passes[cell.name][1] for cell in members),
                seconds=rate * sum(sum(passes[cell.name]) for cell in left),
            )
        )
    return Plan(tuple(variants), "finished cells" if spent > 0 else "one step")


def passes_of_attack(name: str, *, steps: int | None = None, restarts: int = 1, preset: str = "quick") -> int:
    """Return about how many backward passes an attack takes an image: its steps, one where it has none.

    Args:
        name: a name in ``ATTACKS``, or of the toolbox, ``art:NAME``.
        steps: its steps; its own default where None.
        restarts: random starts.
        preset: of the ensemble.

    Example:
        >>> [passes_of_attack("fgsm"), passes_of_attack("pgd", steps=7), passes_of_attack("ensemble")]
        [1, 7, 90]
    """
    if name == "ensemble":
        return backward_passes(preset, evidential=False)
    if steps is None and name in ATTACKS:
        parameter = inspect.signature(ATTACKS[name]).parameters.get("steps")
        steps = int(parameter.default) if parameter is not None and isinstance(parameter.default, int) else 1
    return (steps or 1) * restarts


def _training_passes(config: RunConfig, training: int) -> float:
    """Return the passes of one training and of its robust validation."""
    options = config.training
    epochs = sum(epoch_passes(config, training, epoch=epoch).work for epoch in range(options.epochs))
    validations = options.epochs // min(options.validation_every, options.epochs)
    return epochs + _VALIDATION_SHARE * training * validations * (_FORWARD + options.validation_steps)


def _tested(cell: Cell, images: Mapping[str, tuple[int, int]]) -> float:
    """Return the passes of one evaluation."""
    conditions = conditions_of(cell.config.evaluation)
    attacks = [condition.attack for condition in conditions if condition.attack is not None]
    return images[cell.name][1] * (_FORWARD * len(conditions) + sum(map(_passes, attacks)))


def _passes(attack: AttackConfig) -> int:
    return passes_of_attack(
        attack.name, steps=attack.steps, restarts=attack.restarts or 1, preset=attack.preset or "quick"
    )


def _images(config: StudyConfig, cells: list[Cell]) -> dict[str, tuple[int, int]]:
    """Return how many images each cell is trained and tested on."""
    if config.data.path is None:
        made = config.phantoms
        counts = round(made.train * (1 - config.data.validation_fraction)), made.test
        return dict.fromkeys((cell.name for cell in cells), counts)
    pack = open_dataset(config.data.path, size=config.data.size, channels=config.data.channels)
    splits = {cell.config.data.model_dump_json(): cell.config.data for cell in cells}
    counted = {
        key: (len(rows_of_split(pack, "train", data)), len(rows_of_split(pack, "test", data)))
        for key, data in splits.items()
    }
    return {cell.name: counted[cell.config.data.model_dump_json()] for cell in cells}


def _place(cell: Cell) -> tuple[str, int, int]:
    """Return what a cell is called where the digest of the data is unknown."""
    fold = cell.config.data.fold
    return cell.variant, -1 if fold is None else fold, cell.config.training.seed


def _finished(folder: Path) -> tuple[set[tuple[str, int, int]], float]:
    """Return the cells that are done in a folder and the seconds they took."""
    if not (folder / "plan.json").is_file():
        return set(), 0.0
    found, seconds = set(), 0.0
    for status in study_status(folder):
        if status.state != "done":
            continue
        cell = folder / "cells" / status.name
        about, spent = read_json(cell / "cell.json"), read_json(cell / "done.json")
        found.add((status.variant, int(str(about["fold"])), int(str(about["seed"]))))
        seconds += sum(float(str(spent.get(f"seconds_{stage}", 0.0))) for stage in ("training", "evaluation"))
    return found, seconds


def _seconds_a_pass(config: RunConfig) -> float:
    """Return the time of a forward and backward pass of one image, from the second step of an untrained network."""
    device, size = device_of(config.training.accelerator), config.data.size
    with torch.random.fork_rng(devices=[]):
        segmenter = build_segmenter(
            architecture=config.model.architecture,
            encoder=config.model.encoder,
            head=config.model.head,
            channels=config.data.channels,
            size=size,
            accept_noncommercial=config.model.accept_noncommercial,
        ).to(device)
    batch = max(2, config.training.batch_size)
    images = torch.full((batch, config.data.channels, size, size), 0.5, device=device)
    masks = torch.zeros((batch, 1, size, size), device=device)
    for _ in range(2):
        since = time.perf_counter()
        torch.autograd.backward(LOSSES["binary_cross_entropy"](segmenter.belief(images), masks).mean())
        if device == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - since) / batch
