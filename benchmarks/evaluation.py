"""What evaluation costs beyond its attacks, shifts and predictions, and how long the standard suite takes."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.scenes import DEVICE, ON_GPU, generated_pack, usual_segmenter
from benchmarks.timing import Figure, seconds_of
from trustseg.config import EvaluationConfig, load_run
from trustseg.data import Pack
from trustseg.evaluation import evaluate
from trustseg.evaluation.conditions import conditions_of, perturb
from trustseg.evaluation.measuring import cohort_of, ladders, measure
from trustseg.models import Segmenter
from trustseg.models.inference import fast_forward
from trustseg.randomness import derived_generator

SIZE, IMAGES, BATCH = (224, 512, 64) if ON_GPU else (64, 16, 16)
QATA = 2113  # images of its test set
FEW = 4
LADDER = "[0.5/255, 1/255, 2/255, 4/255, 6/255, 8/255]"
STANDARD = (
    f"evaluation.attacks=[{{name: fgsm, eps: {LADDER}}}, {{name: pgd, eps: {LADDER}, steps: 20}}, "
    "{name: ensemble, eps: [4/255], preset: quick}]",
    "evaluation.shifts=[all]",
    "evaluation.severities=[1, 2, 3, 4, 5]",
    f"evaluation.batch_size={BATCH}",
)


def figures() -> Iterator[Figure]:
    """Yield the cost of the standard suite in units of what it cannot do without; on a GPU, its minutes on QaTa."""
    config, segmenter = load_run(None, list(STANDARD)).evaluation, usual_segmenter(SIZE)
    pack = generated_pack(QATA if ON_GPU else IMAGES, size=SIZE)
    _alone(segmenter, pack, 1, config)  # kernels are chosen at the first call
    works = {
        "alone": partial(_alone, segmenter, pack, IMAGES, config),
        "whole": partial(_whole, segmenter, pack, IMAGES, config),
    }
    times = seconds_of(works, repeats=1 if ON_GPU else 2)
    details = {f"{way}_seconds": seconds for way, seconds in times.items()} | {"images": float(IMAGES)}
    name = f"the standard suite, {SIZE} px / its attacks, shifts and predictions alone"
    yield Figure(name, times["whole"] / times["alone"], target=1.05, details=details)
    if ON_GPU:
        since = time.perf_counter()
        _whole(segmenter, pack, QATA, config)
        minutes = (time.perf_counter() - since) / 60
        yield Figure(f"the standard suite, {QATA} images, {SIZE} px", minutes, unit="min", target=10.0)
    yield _together(segmenter, pack, config)


def _whole(segmenter: Segmenter, pack: Pack, count: int, config: EvaluationConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        evaluate(segmenter, pack, np.arange(count), config, Path(folder), device=DEVICE.type)


def _alone(segmenter: Segmenter, pack: Pack, count: int, config: EvaluationConfig) -> None:
    """Change the images and predict them, and keep nothing."""
    cohort = cohort_of(pack, np.arange(count), device=DEVICE.type)
    with fast_forward(segmenter.eval()) as fast:
        for number, (images, masks, _) in enumerate(cohort.batches(config.batch_size)):
            for condition in conditions_of(config):
                generator = derived_generator(0, condition.slug, number)
                changed, *_ = perturb(fast, images, masks, condition, generator=generator)
                with torch.no_grad():
                    fast.belief(changed)


def _together(segmenter: Segmenter, pack: Pack, config: EvaluationConfig) -> Figure:
    """Return what it saves to attack a few images at all budgets in one batch."""
    cohort = cohort_of(pack, np.arange(FEW), device=DEVICE.type)
    budgets = [each for each in conditions_of(config) if each.attack is not None and each.attack.name == "pgd"]
    with fast_forward(segmenter.eval()) as fast:
        works = {
            f"at_most_{room}_at_once": lambda room=room: [
                measure(fast, cohort, ladder, config, seed=0) for ladder in ladders(budgets, room=room)
            ]
            for room in (1, config.batch_size // FEW)
        }
        times = seconds_of(works, repeats=3)
    alone, together = times.values()
    details = {f"seconds_{way}": seconds for way, seconds in times.items()}
    return Figure(
        f"PGD-20, {FEW} images, {len(budgets)} budgets: in one batch / one by one", together / alone, details=details
    )
