"""The plan of a study: its cells, the passes through a network, the hours."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trustseg.attacks import evaluation_attacks
from trustseg.config import RunConfig, StudyConfig, open_images
from trustseg.data import Pack
from trustseg.evaluation import conditions_of, rows_of_split
from trustseg.evaluation.masking_checks import PASSES as CHECK_PASSES
from trustseg.evaluation.minimal import MINIMAL_OBJECTIVES
from trustseg.evaluation.victim import SQUARE_QUERIES
from trustseg.run_files import Done, read_checked
from trustseg.study.environment import with_threads
from trustseg.study.folder import data_folder, is_done
from trustseg.study.grid import Cell, cells_of
from trustseg.training.passes import epoch_passes
from trustseg.training.validation import measures_robustness

__all__ = ["Plan", "PlannedVariant", "passes_of_attack", "plan_study"]

_FORWARD = 1 / 3  # of the work of a forward and a backward pass
_VALIDATION_SHARE = 0.2  # of validation passes nothing is known before the split


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """The cells of one variant.

    Attributes:
        variant: what is compared, in words.
        head: of its models.
        selection: which images its adversarial training attacks.
        cells: how many trainings, or mixtures.
        done: how many of them are done.
        training: passes of one image, forward and backward, of all its trainings; a forward pass counts a third.
        evaluation: the same of its evaluations.
        seconds: time that the cells which are not done take on one worker; NaN if unknown.
    """

    variant: str
    head: str
    selection: str
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
        basis: what the time comes from: "finished cells", "one step", or both where some networks have none finished.
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
    config = with_threads(config)
    pack = _pack(config, folder)
    cells = cells_of(config, data_digest=pack.digest if pack else "")
    images = _images(config, cells, pack)
    passes = {
        cell.name: (
            0.0 if cell.mixture else _training_passes(cell.config, images[cell.name][0]),
            _tested(cell, images) * (cell.mixture.passes if cell.mixture else 1),
        )
        for cell in cells
    }
    done = {cell.name for cell in cells if is_done(folder / "cells" / cell.name)}
    rates, basis = _rates(cells, passes, {name: _spent(folder / "cells" / name) for name in done})
    variants = []
    for variant in dict.fromkeys(cell.variant for cell in cells):
        members = [cell for cell in cells if cell.variant == variant]
        left = [cell for cell in members if cell.name not in done]
        variants.append(
            PlannedVariant(
                variant,
                head=members[0].config.model.head,
                selection=members[0].config.adversarial.selection,
                cells=len(members),
                done=len(members) - len(left),
                training=sum(passes[cell.name][0] for cell in members),
                evaluation=sum(passes[cell.name][1] for cell in members),
                seconds=sum(rates[_network(cell.config)] * sum(passes[cell.name]) for cell in left),
            )
        )
    return Plan(tuple(variants), basis)


def passes_of_attack(name: str, *, evidential: bool = False, **options: Any) -> float:  # noqa: ANN401 - of any attack
    """Return about how many passes forward and backward an attack takes per image; one forward counts a third.

    Args:
        name: of an attack of the evaluation, or of the toolbox, ``art:NAME``.
        evidential: whether the model's beliefs are Betas, against which an attack suite has more members.
        options: those of the attack that are given.

    Example:
        >>> [passes_of_attack("fgsm"), passes_of_attack("pgd", steps=7), passes_of_attack("ensemble")]
        [1.0, 7.0, 101.0]
    """
    attack = evaluation_attacks().get(name)
    if attack is None:
        return float(options.get("steps", 1) * options.get("restarts", 1))
    usual = {option: each.default for option, each in attack.options.items()}
    forward, backward = attack.facts.passes(evidential=evidential, **(usual | options))
    return (forward + 2 * backward) / 3


def _training_passes(config: RunConfig, training: int) -> float:
    options = config.training
    epochs = sum(epoch_passes(config, training, epoch=epoch).work for epoch in range(options.epochs))
    validations = -(-options.epochs // options.validation_every)  # the last epoch is one of them
    steps = options.validation_steps if measures_robustness(config) else 0
    return epochs + _VALIDATION_SHARE * training * validations * (_FORWARD + steps)


def _tested(cell: Cell, images: Mapping[str, tuple[int, int]]) -> float:
    """Return the passes of one evaluation, of its checks, and of its search for the smallest budgets at most."""
    settings = cell.config.evaluation
    tested = min(images[cell.name][1], settings.images or images[cell.name][1])
    conditions = conditions_of(settings)
    attacks = [condition.attack for condition in conditions if condition.attack is not None]
    checks = min(settings.masking_checks, tested) * (CHECK_PASSES + _FORWARD * SQUARE_QUERIES)
    attacked = sum(
        passes_of_attack(attack.name, evidential=cell.config.model.head == "beta", **attack.options)
        for attack in attacks
    )
    return tested * (_FORWARD * len(conditions) + attacked + _searched(cell.config)) + checks


def _searched(config: RunConfig) -> int:
    options = config.evaluation.minimal
    if options.tau is None:
        return 0
    objectives = len(MINIMAL_OBJECTIVES) + (config.model.head == "beta")
    return (len(options.eps) + options.halvings) * objectives * (options.steps + 2)


def _pack(config: StudyConfig, folder: Path) -> Pack | None:
    """Return the images of a study; None if they are generated and not there yet, so that no cell can be done."""
    path = data_folder(config, folder)
    return None if config.data.path is None and not path.is_dir() else open_images(config.data, path=path)


def _images(config: StudyConfig, cells: list[Cell], pack: Pack | None) -> dict[str, tuple[int, int]]:
    if pack is None:
        made = config.phantoms
        counts = round(made.train * (1 - config.data.validation_fraction)), made.test
        return dict.fromkeys((cell.name for cell in cells), counts)
    splits = {cell.config.data.model_dump_json(): cell.config.data for cell in cells}
    counted = {
        key: (len(rows_of_split(pack, "train", data)), len(rows_of_split(pack, "test", data)))
        for key, data in splits.items()
    }
    return {cell.name: counted[cell.config.data.model_dump_json()] for cell in cells}


def _spent(cell: Path) -> float:
    """Return the seconds that a finished cell took."""
    done = read_checked(cell / "done.json", Done)
    return sum(seconds for seconds in (done.seconds_training, done.seconds_evaluation) if math.isfinite(seconds))


def _rates(
    cells: list[Cell], passes: Mapping[str, tuple[float, float]], seconds: Mapping[str, float]
) -> tuple[dict[str, float], str]:
    """Return the seconds per pass of each network, and their source: its finished cells, else one step of it."""
    rates, bases = {}, set[str]()
    for network, config in {_network(cell.config): cell.config for cell in cells}.items():
        finished = [cell.name for cell in cells if cell.name in seconds and _network(cell.config) == network]
        spent = sum(sum(passes[name]) for name in finished)
        rates[network] = sum(seconds[name] for name in finished) / spent if spent > 0 else _seconds_a_pass(config)
        bases.add("finished cells" if spent > 0 else "one step")
    return rates, " and ".join(sorted(bases))


def _network(config: RunConfig) -> str:
    """Return what the time of a pass depends on; the head, a map more or less, does not matter."""
    options = config.training
    model = config.model.model_dump(
        mode="json", exclude={"head", "prior", "evidence", "weights", "accept_noncommercial"}
    )
    step = options.batch_size, options.precision, options.accelerator
    return json.dumps([model, config.data.size, config.data.channels, *step])


def _seconds_a_pass(config: RunConfig) -> float:
    """Return the time of a forward and backward pass of one image, from the second step of an untrained network."""
    import torch

    from trustseg.losses import LOSSES
    from trustseg.models import device_of
    from trustseg.training.run import initial_segmenter

    device, size = device_of(config.training.accelerator), config.data.size
    segmenter = initial_segmenter(config).to(device)
    batch = max(2, config.training.batch_size)
    images = torch.full((batch, config.data.channels, size, size), 0.5, device=device)
    masks = torch.zeros((batch, 1, size, size), device=device)
    taken = 0.0
    for _ in range(2):
        since = time.perf_counter()
        with torch.random.fork_rng():  # dropout draws
            with torch.autocast(device, torch.bfloat16, enabled=config.training.precision == "bf16-mixed"):
                loss = LOSSES["binary_cross_entropy"](segmenter.belief(images), masks).mean()
            torch.autograd.backward(loss)
        if device == "cuda":
            torch.cuda.synchronize()
        taken = time.perf_counter() - since
    return taken / batch
