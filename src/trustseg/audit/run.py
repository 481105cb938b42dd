"""An audit from end to end: open, plan, measure, judge, write."""

import ctypes
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from trustseg import __version__
from trustseg.audit import measuring
from trustseg.audit.document import Document
from trustseg.audit.evidence import Evidence
from trustseg.audit.findings import findings_of
from trustseg.audit.plan import Plan, make_plan, seconds_of
from trustseg.audit.repeats import REPEAT_PASSES
from trustseg.audit.requirements import Requirement, default_requirements, read_requirements
from trustseg.audit.subject import ModelOptions, Subject, open_subject
from trustseg.audit.verdicts import NEEDS, Verdict, describe, missing_needs, require_known
from trustseg.audit.writing import document_of, write_audit
from trustseg.data import Pack
from trustseg.errors import ConfigError, DataError, UnknownNameError
from trustseg.files import read_json, write_json
from trustseg.metrics import metrics_of
from trustseg.reporting.labels import CLEAN

__all__ = ["Audit", "audit"]

PLAN: Final = "plan.json"
_PAGE: Final = 0.15  # of the budget, for start-up, verdicts and the page


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found, and where it is written.

    Attributes:
        folder: holds ``audit.html``, ``audit.json``, ``tables/`` and ``figures/``.
        document: the content of ``audit.json``.
        verdicts: on the requirements, in their order.
    """

    folder: Path
    document: Document
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Return whether every requirement is met."""
        return self.document.passed

    @property
    def page(self) -> Path:
        """Return the page."""
        return self.folder / "audit.html"


def audit(
    model: object,
    data: Path | str | Pack,
    requirements: Sequence[Requirement] | Path | str | None = None,
    *,
    folder: Path | str = "audit",
    budget: str | float | None = "10min",
    split: str = "all",
    options: ModelOptions | None = None,
    allow_training_patients: bool = False,
    pictures: bool = True,
    draws: int = 2000,
    report: measuring.StageCallback | None = None,
) -> Audit:
    """Audit a model, or predictions alone, against requirements; write a page, tables and figures.

    Measured conditions are kept in the folder: the same audit, started again, goes on where it stopped.

    Args:
        model: a file or folder, ``package.module:function``, a folder of predictions, a mapping from names of cases to
            probability maps, an ``nn.Module``, or a function from images to logits, probabilities or beliefs.
        data: a folder of images and masks, a manifest or a pack.
        requirements: a YAML file, or a list; None takes those that are shipped, as far as this audit can test them.
        folder: where everything is written.
        budget: time for the whole audit, as ``10min``: shifts and attacks get what unchanged images and the page leave;
            None or ``none`` for no limit.
        split: ``all``, or ``test`` and so on where the data set has sides; controls are always audited, too.
        options: how model and data are opened.
        allow_training_patients: whether patients may be audited on whom a model of ours was trained.
        pictures: whether the page shows cases, which are pictures of patients.
        draws: bootstrap draws of every interval.
        report: told how far the audit is.

    Raises:
        TrustsegError: if model, data or requirements cannot be used; nothing is judged then.
    """
    since, tell = time.monotonic(), report or (lambda stage, done, total: None)
    output, seconds = Path(folder), seconds_of(budget)
    wanted = _load_requirements(requirements)
    subject = open_subject(model, data, options or ModelOptions(), progress=lambda done, of: tell("packing", done, of))
    rows = measuring.rows_to_audit(subject, split, allow_training_patients=allow_training_patients)
    available = _available(subject, rows)
    testable, untested = _testable(wanted, available, is_default=requirements is None)
    for name in ("audit.html", "audit.json"):  # of an earlier audit, perhaps of another model
        (output / name).unlink(missing_ok=True)
    evidence = measuring.measure_clean(subject, rows, output / "clean", report=tell)
    if subject.model is None:  # predictions have been read now
        subject = replace(subject, digest=str(read_json(output / "clean" / "evaluation.json").get("model", "")))
    plan = _plan(subject, evidence, rows, testable, seconds, since, output)
    changed = _metrics_under_change(testable)
    there = output / "changed"
    evidence = measuring.measure_changed(subject, evidence, rows, plan, there, metrics=changed, report=tell)
    tell("report", 0, 2)
    findings = findings_of(evidence, testable, available=available, draws=draws)
    tell("report", 1, 2)
    document = document_of(subject, rows, plan, evidence, findings, untested=untested, split=split, budget=seconds)
    write_audit(output, subject, plan, evidence, findings, document, pictures=pictures, draws=draws)
    _release_freed_memory()
    tell("report", 2, 2)
    return Audit(output, document, findings.verdicts)


def _release_freed_memory() -> None:
    """Give freed memory back to the system: libraries of torch take another 120 MB when the process ends."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _load_requirements(requirements: Sequence[Requirement] | Path | str | None) -> list[Requirement]:
    if isinstance(requirements, str | Path):
        loaded, where = read_requirements(Path(requirements)), f"'{requirements}': "
    else:
        loaded, where = default_requirements() if requirements is None else list(requirements), ""
    if not loaded:
        raise ConfigError("there are no requirements; give at least one, or None for those that are shipped")
    for each in loaded:
        try:
            require_known(each)
        except (ConfigError, UnknownNameError) as error:
            raise type(error)(f"{where}{error}") from error
    return loaded


def _available(subject: Subject, rows: measuring.Rows) -> frozenset[str]:
    """Return what the audit has, in the keys of ``NEEDS``."""
    index = subject.pack.index[rows.tolist()]
    labelled = index["has_mask"] & (index["split"] != "control")
    empty = (index["split"] == "control") | (labelled & (index["foreground"].fill_null(0) == 0))
    known = index.filter(labelled | (index["split"] == "control"))
    available = {
        "masks": bool(labelled.any()),
        "no_masks": not bool(labelled.any()),
        "controls": bool(empty.any()),
        "probability": subject.has_probability,
        "policy": known["patient"].n_unique() >= 2,
        "model": subject.model is not None,
        "gradients": subject.gradients,
    }
    return frozenset(name for name, is_available in available.items() if is_available)


def _testable(
    requirements: Sequence[Requirement], available: frozenset[str], *, is_default: bool
) -> tuple[list[Requirement], dict[str, str]]:
    """Return the requirements that can be tested; others of the default, unless it is all, with what they need."""
    pairs = [(each, missing_needs(each, available=available)) for each in requirements]
    for each, missing in pairs:
        if missing and not is_default:
            raise ConfigError(f"requirement '{describe(each)}' cannot be tested: it needs {missing}; remove it")
    if all(missing for _, missing in pairs):
        first, missing = pairs[0]
        raise DataError(
            f"no requirement can be tested: the first, '{describe(first)}', needs {missing}; without reference "
            "masks the stability of a model can be tested, of predictions alone nothing"
        )
    untested = {describe(each): f"needs {lack}" for each, lack in pairs if lack and NEEDS["no_masks"] not in lack}
    return [each for each, missing in pairs if not missing], untested


def _plan(
    subject: Subject,
    evidence: Evidence,
    rows: measuring.Rows,
    requirements: Sequence[Requirement],
    budget: float | None,
    since: float,
    folder: Path,
) -> Plan:
    """Return the plan: that of an earlier start of the same audit, or a new one."""
    if subject.model is None:
        return Plan(0)
    asked = [each.model_dump(mode="json") for each in requirements]
    inputs = [__version__, subject.digest, subject.pack.digest, rows.tolist(), asked, budget]
    fingerprint = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    file = folder / PLAN
    if file.is_file() and (stored := read_json(file)).get("fingerprint") == fingerprint:
        return TypeAdapter(Plan).validate_python(stored["plan"])
    times = measuring.pass_times(subject, rows, _metrics_under_change(requirements))
    repeats = REPEAT_PASSES * times.forward
    left = None if budget is None else max(0.0, (1 - _PAGE) * budget - (time.monotonic() - since) - repeats)
    plan = make_plan(
        times,
        images=len(rows),
        gradients=subject.gradients,
        masks=bool((evidence.rows(CLEAN)["mask_px"].fill_null(0) > 0).any()),
        policy=evidence.policy is not None,
        requirements=requirements,
        budget=left,
    )
    write_json(file, {"fingerprint": fingerprint, "plan": asdict(plan)})
    return plan


def _metrics_under_change(requirements: Sequence[Requirement]) -> list[str]:
    """Return the metrics of changed masks that requirements ask for; Dice and IoU are always taken."""
    changed = {each.metric for each in requirements if each.condition != "clean"}
    return [name for name in metrics_of("image") if name in changed - {"dice", "iou"}]
