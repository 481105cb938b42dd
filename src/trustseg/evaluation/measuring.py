"""Measuring a model on a set of images, a batch after another, under conditions that are best measured together."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from statistics import median

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from trustseg.background_writer import background_writer
from trustseg.beliefs import check_belief
from trustseg.config import EvaluationConfig
from trustseg.data import Pack
from trustseg.data.batches import CachedPack, as_images, cache_pack, pack_loader
from trustseg.data.pack import GROUP
from trustseg.data.resizing import IGNORED, Area
from trustseg.evaluation.conditions import Condition, Deployed, PerturbedBatch, attack_budgets, perturb
from trustseg.evaluation.frames import areas_in, frame_columns
from trustseg.evaluation.pixels import patient_groups
from trustseg.evaluation.records import REFERENCE, Recorder, Tables
from trustseg.masks import ignoring
from trustseg.models import BeliefModel
from trustseg.randomness import derived_generator

__all__ = ["Cohort", "cohort_of", "cost_of", "ladders", "measure"]


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """The images that are measured, where they lie while they are.

    Attributes:
        pixels: the pack, or a copy of it in the memory of the device.
        rows: which of its images.
        cases: name, patient, group of patients and kind of reference (see ``REFERENCE``) of each row, and where it lies
            in its square if it is padded (see ``frame_columns``).
        pack: where masks lie at the size of the images themselves.
    """

    pixels: Pack | CachedPack
    rows: NDArray[np.int64]
    cases: pl.DataFrame
    device: torch.device
    pack: Pack

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, pl.DataFrame]]:
        """Yield images (B, C, H, W) float32 in [0, 1], masks (B, 1, H, W) as ``as_images`` and cases (B rows)."""
        batches = pack_loader(self.pixels, self.rows, batch_size=size)
        for batch, cases in zip(batches, self.cases.iter_slices(size), strict=True):
            moved = {name: values.to(self.device) for name, values in batch.items()}  # as uint8, then made float
            yield *as_images(moved), cases

    def native(self, first: int, count: int) -> list[Tensor | None] | None:
        """Return masks (H, W) at the size of the images of some rows, NaN where ignored; None of a pack in memory."""
        if self.pack.folder is None:
            return None
        masks = self.pack.native_masks(self.rows[first : first + count].tolist())
        return [None if mask is None else ignoring(torch.from_numpy(mask), IGNORED) for mask in masks]


def cohort_of(pack: Pack, rows: NDArray[np.int64], *, device: str, pixels: Pack | CachedPack | None = None) -> Cohort:
    """Return some rows of a pack, ready to be measured; a GPU holds the pack, or ``pixels`` is a copy that it has."""
    on_device = torch.device(device)
    cases = pack.index[rows].select("name", "patient", pl.col(f"^{GROUP}.+$"), reference=REFERENCE)
    groups = pl.Series("group", patient_groups(cases["patient"].to_list()), dtype=pl.String)
    cached = cache_pack(pack, "auto", device=on_device) if pixels is None else pixels
    frames = frame_columns(pack, rows)
    return Cohort(cached, rows, cases.with_columns(groups, *frames.get_columns()), on_device, pack)


def ladders(conditions: Sequence[Condition], *, room: int = 1) -> list[list[Condition]]:
    """Return the conditions in groups that are measured together, their order kept.

    The budgets of an attack that carries its finds on are one group, those of other attacks come in groups of ``room``
    (how many times the whole set fits into a batch), everything else alone.
    """
    found: list[list[Condition]] = []
    for _, group in groupby(conditions, key=lambda each: each.attack if each.carries or each.stacks else each):
        budgets = list(group)
        size = len(budgets) if budgets[0].carries else max(1, room)
        found += [budgets[first : first + size] for first in range(0, len(budgets), size)]
    return found


def measure(
    model: BeliefModel,
    cohort: Cohort,
    ladder: Sequence[Condition],
    config: EvaluationConfig,
    *,
    seed: int,
    deployed: Deployed | None = None,
) -> dict[str, Tables]:
    """Return the tables of each condition of a ladder by its slug; they are written while the next attack runs.

    Args:
        model: in eval mode, on the device of the cohort.
        ladder: one of ``ladders``.
        seed: each batch and condition has a generator of its own.
        deployed: score and threshold that attacks on the uncertainty aim at.
    """
    groups = sorted(cohort.cases["group"].unique())
    recorders = {each.slug: Recorder(each, config, groups=groups, device=cohort.device) for each in ladder}
    with background_writer() as later:
        for number, (images, masks, cases) in enumerate(cohort.batches(config.batch_size)):
            areas = areas_in(cases)
            batches = _perturbed_batches(
                model, images, masks, ladder, areas, seed=seed, number=number, deployed=deployed
            )
            for condition, (changed, moved, covered) in zip(ladder, batches, strict=True):
                with torch.no_grad():
                    belief = model.belief(changed)
                check_belief(belief)
                add = recorders[condition.slug].add
                first = number * config.batch_size
                native = cohort.native(first, len(cases)) if condition.kind == "clean" else None
                later(partial(add, belief, images, moved, cases, changed=changed, covered=covered, native=native))
    return {slug: recorder.tables() for slug, recorder in recorders.items()}


def _perturbed_batches(
    model: BeliefModel,
    images: Tensor,
    masks: Tensor,
    ladder: Sequence[Condition],
    areas: Sequence[Area] | None,
    *,
    seed: int,
    number: int,
    deployed: Deployed | None,
) -> Iterator[PerturbedBatch]:
    first = ladder[0]
    budgets = ",".join(f"{rung.eps:.6f}" for rung in ladder)
    if len(ladder) > 1 and first.stacks:
        generator = derived_generator(seed, "evaluation", first.name, budgets, number)
        yield from attack_budgets(model, images, masks, ladder, generator=generator, deployed=deployed, areas=areas)
        return
    smaller: list[Tensor] = []  # what was found at smaller budgets
    for rung in ladder:
        # One stream for all severities of a shift: the same change, milder or stronger.
        generator = derived_generator(seed, "evaluation", rung.shift or rung.name, f"{rung.eps:.6f}", number)
        changed = perturb(
            model, images, masks, rung, generator=generator, deployed=deployed, candidates=smaller[-1:], areas=areas
        )
        smaller.append(changed.images)
        yield changed


def cost_of(model: BeliefModel, images: Tensor) -> dict[str, int | float | str]:
    """Return what one clean prediction by a model in eval mode costs on this machine, now.

    ``passes`` (forward passes of a network an image), ``seconds_per_image`` (median of 3 batches, after one that is not
    counted), ``timed_batch_size`` (B), ``timed_on`` (the device of the images) and ``timed_threads`` (of torch).
    """
    return {
        "passes": model.passes,
        "seconds_per_image": median([_seconds(model, images) for _ in range(4)][1:]) / len(images),
        "timed_batch_size": len(images),
        "timed_on": torch.cuda.get_device_name(images.device) if images.is_cuda else "cpu",
        "timed_threads": torch.get_num_threads(),
    }


def _seconds(model: BeliefModel, images: Tensor) -> float:
    """Return the time of one batch; copying the result back waits for the device."""
    start = time.perf_counter()
    with torch.no_grad():
        model.belief(images).probability.cpu()
    return time.perf_counter() - start
