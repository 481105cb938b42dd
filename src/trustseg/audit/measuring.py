"""Measuring what an audit reads: clean images first, then some of them changed, as the plan says."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from trustseg.attacks import fgsm
from trustseg.audit.evidence import SCORE, Evidence, read_results
from trustseg.audit.plan import PassTimes, Plan
from trustseg.audit.repeats import REPEATED, repeats_of
from trustseg.audit.subject import Subject
from trustseg.config import DeferralConfig, EvaluationConfig, MeasureConfig, MinimalConfig
from trustseg.data import Pack
from trustseg.data.batches import PackRows, as_images, pack_loader
from trustseg.data.training_record import require_no_leakage
from trustseg.deferral import Policy, fit_policy, save_policy
from trustseg.errors import DataError
from trustseg.evaluation import (
    evaluate,
    evaluate_predictions,
    hash_of_model,
    rows_of_split,
    write_masking_checks,
    write_minimal,
)
from trustseg.evaluation.conditions import CLEAN as UNCHANGED
from trustseg.evaluation.measuring import cohort_of, measure
from trustseg.evaluation.rows import draw_cases
from trustseg.files import replacing
from trustseg.models import BeliefModel
from trustseg.reporting.cell_tables import at
from trustseg.reporting.labels import CLEAN

__all__ = ["Rows", "StageCallback", "batch_of", "measure_changed", "measure_clean", "pass_times", "rows_to_audit"]

Rows = NDArray[np.int64]
StageCallback = Callable[[str, int, int], None]
"""Called with a stage, the steps done and those in all."""

_AGGREGATIONS: Final = ("soft_dice_confidence", "mean", "quantile_mean", "foreground_mean")
_TIMED: Final = 16  # images in the batch that is timed: an image of a smaller batch may take a third less
_CALIBRATION: Final = 100  # images from which attacks on the uncertainty know the policy
_DEFERRAL: Final = DeferralConfig(measure=MeasureConfig(bernoulli=SCORE[0], beta=SCORE[0]), aggregation=SCORE[1])


def rows_to_audit(subject: Subject, split: str, *, allow_training_patients: bool) -> Rows:
    """Return the rows of the pack that are audited: those of a split and, for false alarms, all controls.

    Without any reference mask, all images are. A DataError if there are none, one has no prediction, or the model has
    seen one of its patients.
    """
    pack = subject.pack
    names = pack.index["name"].to_list()
    controls = (pack.index["split"] == "control").arg_true().to_numpy().astype(np.int64)
    if subject.predictions is not None and not any(names[row] in subject.predictions for row in controls):
        controls = controls[:0]  # nothing was predicted for them
    if bool((pack.index["has_mask"] & (pack.index["split"] != "control")).any()):
        other = subject.seen is not None and subject.data.path is None
        rows = np.union1d(rows_of_split(pack, split, subject.data, other=other), controls)
    else:
        rows = np.arange(len(pack.index), dtype=np.int64)
    if subject.predictions is not None:
        lacking = [names[row] for row in rows if names[row] not in subject.predictions]
        if lacking:
            raise DataError(
                f"{len(lacking)} of {len(rows)} cases have no prediction, such as '{lacking[0]}'; predict them, or "
                "choose another --split"
            )
    if subject.seen is not None and not allow_training_patients:
        require_no_leakage(subject.seen, pack, rows)
    return rows


def measure_clean(subject: Subject, rows: Rows, folder: Path, *, report: StageCallback) -> Evidence:
    """Return what is found on unchanged images, with a deferral policy fitted on half of the patients."""
    config, tell = _config(subject), partial(report, "clean images")
    if subject.model is None:
        digest = evaluate_predictions(subject.predictions or {}, subject.pack, rows, config, folder, report=tell)[:16]
    else:
        evaluate(subject.model, subject.pack, rows, config, folder, report=tell)
        digest = hash_of_model(subject.model)
    results = read_results(folder, name=subject.name, head=_head(subject))
    evidence = Evidence(results)
    clean = results.records.filter(at(CLEAN), pl.col("mask_px").is_not_null())
    half = fitting_half(clean["patient"].to_list())
    if not subject.has_probability or not half or not bool((clean["mask_px"] > 0).any()):
        return evidence
    fitted = clean.filter(pl.col("patient").is_in(list(half)))
    policy = fit_policy(
        fitted,
        measure=SCORE[0],
        aggregation=SCORE[1],
        target=_DEFERRAL.target,
        at_most=_DEFERRAL.at_most,
        tau=_DEFERRAL.tau,
        model=digest,
    )
    _save_policy(policy, fitted, folder)
    return replace(evidence, policy=policy, fitted_on=half)


def _save_policy(policy: Policy, fitted: pl.DataFrame, folder: Path) -> None:
    """Write a policy, and the records that it was fitted on, where a report on this folder finds them."""
    save_policy(policy, folder / "policy.json")
    with replacing(folder / "validation.parquet") as temporary:
        fitted.write_parquet(temporary)


def fitting_half(patients: Sequence[str]) -> frozenset[str]:
    """Return half of the patients, drawn by a fixed seed; none of fewer than two."""
    names = sorted(set(patients))
    drawn = np.random.default_rng(0).permutation(len(names))[: len(names) // 2]
    return frozenset(names[place] for place in drawn)


def pass_times(subject: Subject, rows: Rows, metrics: Sequence[str]) -> PassTimes:
    """Return what passes of the subject's model take on this machine now, measured on a small batch of the rows.

    ``metrics`` are those that are taken of changed images, beside Dice and IoU.
    """
    model, rows = subject.model, rows[:_TIMED]
    if model is None:
        raise ValueError("predictions take no passes")
    images, masks = batch_of(subject.pack, rows)
    config = _config(subject, Plan(len(rows)), metrics)
    cohort = cohort_of(subject.pack, rows, device="cpu")

    def seconds(run: Callable[[], object]) -> float:
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) / len(images)

    def predict() -> None:
        with torch.no_grad():
            model.belief(images)

    predict()  # the first prediction prepares the model
    forward = seconds(predict)
    record = seconds(lambda: measure(model, cohort, [UNCHANGED], config, seed=0))
    if not subject.gradients:
        return PassTimes(forward, record=record)
    known_masks = torch.where(masks.isnan(), 0.0, masks)
    both = seconds(lambda: fgsm(model, images, known_masks, eps=1 / 255, keep_best=False))
    return PassTimes(forward, max(0.0, both - forward), record)


def measure_changed(
    subject: Subject,
    evidence: Evidence,
    rows: Rows,
    plan: Plan,
    folder: Path,
    *,
    metrics: Sequence[str],
    report: StageCallback,
) -> Evidence:
    """Return the evidence with what is found on changed images, and when the model is run in other ways.

    ``metrics`` are those that are taken of changed images, beside Dice and IoU.
    """
    model, pack = subject.model, subject.pack
    if model is None:
        return evidence
    has_masks = bool((pack.index["has_mask"]).gather(rows.tolist()).any())
    chosen = rows if plan.images >= len(rows) else rows[draw_cases(pack.index[rows.tolist()], plan.images)]
    reference = pack if has_masks else _with_predictions(model, pack, chosen)
    config = _config(subject, plan, metrics)
    fitted = _rows_of_patients(pack, rows, evidence.fitted_on)[:_CALIBRATION]
    aims_at_policy = any(attack.name not in ("pgd", "fgsm", "ensemble", "square") for attack in config.attacks)
    if plan.shifts or plan.attacks:
        tell = partial(report, ": ".join(filter(None, ("shifts and attacks", plan.warning))))
        tell(0, 1)
        calibration_rows = fitted if aims_at_policy and len(fitted) else None
        evaluate(model, reference, chosen, config, folder, calibration_rows=calibration_rows, report=tell)
        if evidence.policy is not None:
            # Attacks knew one that was fitted on fewer images; what is reported is how the deployed one fares.
            clean = evidence.rows(CLEAN)
            _save_policy(evidence.policy, clean.filter(pl.col("patient").is_in(list(evidence.fitted_on))), folder)
    positive = chosen[pack.index["foreground"].fill_null(0).to_numpy()[chosen] > 0]
    if plan.masking_checks and len(positive):
        write_masking_checks(model, pack, chosen, folder, count=plan.masking_checks, square_steps=300)
    if plan.minimal and len(positive):
        write_minimal(model, pack, positive[: plan.minimal], config, folder)
    images, _ = batch_of(pack, chosen[:REPEATED])
    names = pack.index["name"].gather(chosen[:REPEATED].tolist()).to_list()
    changed = read_results(folder, name=subject.name, head=_head(subject)) if plan.shifts or plan.attacks else None
    repeats = repeats_of(model, images, names)
    return replace(evidence, changed=changed, repeats=repeats, own_reference=not has_masks)


def batch_of(pack: Pack, rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the images and masks of some rows."""
    return as_images(PackRows(pack, rows).__getitems__(range(len(rows))))


def _config(subject: Subject, plan: Plan | None = None, metrics: Sequence[str] = ()) -> EvaluationConfig:
    """Return the settings of an evaluation: of clean images without a plan, with all that is known of them."""
    if plan is None:
        measures = ("entropy",) if subject.model is None else ("entropy", "epistemic_variance", "vacuity")
        return EvaluationConfig(
            attacks=(), shifts=(), severities=(1,), deferral=_DEFERRAL, measures=measures, aggregations=_AGGREGATIONS
        )
    return EvaluationConfig(
        attacks=plan.attack_configs,
        shifts=plan.shifts,
        severities=plan.severities or (1,),
        minimal=MinimalConfig(tau=_DEFERRAL.tau) if plan.minimal else MinimalConfig(),
        deferral=_DEFERRAL,
        measures=("entropy",),
        aggregations=_AGGREGATIONS[:1],
        metrics=tuple(metrics),
    )


def _head(subject: Subject) -> str:
    return "bernoulli" if subject.model is None else subject.model.spec.head


def _rows_of_patients(pack: Pack, rows: Rows, patients: frozenset[str]) -> Rows:
    names = pack.index["patient"].gather(rows.tolist()).is_in(list(patients))
    return np.asarray(rows[names.to_numpy()])


def _with_predictions(model: BeliefModel, pack: Pack, rows: Rows) -> Pack:
    masks = np.zeros_like(pack.masks)
    foreground = np.zeros(len(pack.index), np.int64)
    for batch in pack_loader(pack, rows, batch_size=16):
        images, _ = as_images(batch)
        with torch.no_grad():
            predicted = (model.belief(images).log_odds > 0).to(torch.uint8).numpy()
        places = batch["rows"].numpy()
        masks[places] = predicted
        foreground[places] = predicted.sum(axis=(1, 2, 3))
    index = pack.index.with_columns(has_mask=pl.lit(True), foreground=pl.Series(foreground), split=pl.lit("test"))
    return replace(
        pack, masks=masks, index=index, folder=None, digest=f"{pack.digest} predicted {hash_of_model(model)}"
    )
