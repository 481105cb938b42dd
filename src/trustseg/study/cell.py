"""One cell of a study: train or combine, then evaluate; finished stages are skipped."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import yaml

from trustseg.config import RunConfig
from trustseg.data import Pack
from trustseg.evaluation import evaluate, measure_of, rows_of_split, write_gallery, write_masking_checks, write_minimal
from trustseg.evaluation.records import TABLES_VERSION
from trustseg.files import make_folder, read_json, write_json, write_text
from trustseg.models import BeliefModel, Segmenter, device_of
from trustseg.progress import ProgressCallback
from trustseg.run_files import Description, Progress, read_checked
from trustseg.study.folder import is_done
from trustseg.study.grid import Cell
from trustseg.study.mixtures import load_mixture, mixture_of
from trustseg.study.surrogates import surrogate_for
from trustseg.system import try_lock
from trustseg.tables import read_csv
from trustseg.training import train
from trustseg.training.hardware import threads
from trustseg.training.provenance import provenance

__all__ = ["check_again", "claimed", "is_claimed", "prepare_cell", "run_cell", "warnings_of"]


def prepare_cell(cell: Cell, folder: Path) -> None:
    """Write what a worker needs to know of a cell into its folder.

    A cell that is done stays done unless it is to be evaluated otherwise, or its tables are of another version; its
    training is never repeated.
    """
    config = cell.config
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    file = folder / "config.yaml"
    about = read_json(folder / "cell.json") if is_done(folder) and file.is_file() else {}
    if about.get("tables") == TABLES_VERSION and file.read_text(encoding="utf-8") == settings:
        return
    (folder / "done.json").unlink(missing_ok=True)
    write_text(file, settings)
    write_json(
        folder / "cell.json",
        {
            "tables": TABLES_VERSION,
            "id": cell.name,
            "variant": cell.variant,
            "values": dict(cell.values),
            "head": config.model.head,
            "selection": config.adversarial.selection,
            "fold": -1 if config.data.fold is None else config.data.fold,
            "seed": config.training.seed,
            **({} if cell.mixture is None else {"mixture": cell.mixture.model_dump()}),
        },
    )


def warnings_of(folder: Path) -> dict[str, object]:
    """Return the warnings of a cell's training: ``catastrophic_overfitting``, its epochs from 0, if there was any."""
    file = folder / "warnings.json"
    return read_json(file) if file.is_file() else {}


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Yield whether this process now owns the cell; the claim ends with the process, however that ends."""
    make_folder(folder)
    with (folder / "claim.lock").open("a") as lock:
        mine = _locked(lock)
        if mine:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
        yield mine


def _locked(lock: TextIO) -> bool:
    """Return whether the lock could be had; tried more than once, as an onlooker holds it for an instant."""
    for _ in range(5):
        if try_lock(lock.fileno()):
            return True
        time.sleep(0.01)
    return False


def is_claimed(folder: Path) -> bool:
    """Return whether some process, here or elsewhere, owns the cell at this moment."""
    try:
        with (folder / "claim.lock").open() as lock:
            return not try_lock(lock.fileno(), shared=True)
    except FileNotFoundError:
        return False


def run_cell(folder: Path, config: RunConfig, pack: Pack, *, progress: bool = False) -> None:
    """Train and evaluate one cell into its folder, going on where an earlier process stopped; a mixture trains nothing.

    Args:
        folder: the cell's folder, with ``cell.json``.
        progress: whether training draws a progress bar.

    Raises:
        RunError: if training diverges, or a member of a mixture is not done.
    """
    if is_done(folder):
        return
    (folder / "failed.json").unlink(missing_ok=True)
    if not (folder / "provenance.json").exists():
        write_json(folder / "provenance.json", provenance(pack))
    stages, mixture = _Stages(folder), mixture_of(folder)
    with threads(config.training.threads):
        if mixture is None:
            model: BeliefModel = train(config, pack, folder, progress=progress, report=stages.reporter("training"))
            stages.add("training")
        else:
            model = load_mixture(folder, mixture)
        _evaluate(folder, config, pack, model, stages.reporter("evaluation"))
        stages.add("evaluation")
    done = {
        "seconds_training": 0.0,
        **{f"seconds_{stage}": round(seconds, 1) for stage, seconds in stages.spent.items()},
        "epochs": read_csv(folder / "metrics.csv").height if mixture is None else 0,  # patience may end it early
        **warnings_of(folder),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / "done.json", done)


def _evaluate(folder: Path, config: RunConfig, pack: Pack, model: BeliefModel, report: ProgressCallback) -> None:
    rows = rows_of_split(pack, "test", config.data, count=config.evaluation.images)
    about = read_checked(folder / "cell.json", Description)
    device = device_of(config.training.accelerator)
    seed = config.training.seed
    evaluate(
        model,
        pack,
        rows,
        config.evaluation,
        folder,
        calibration_rows=rows_of_split(pack, "validation", config.data),
        labels={"cell": about.id, **about.model_dump(include={"variant", "head", "selection", "fold", "seed"})},
        seed=seed,
        device=device,
        report=report,
    )
    write_minimal(model, pack, rows, config.evaluation, folder, device=device, report=report)
    _check(folder, config, pack, model)
    write_gallery(
        model,
        pack,
        rows,
        config.evaluation,
        folder / "gallery.npz",
        eps=config.adversarial.eps,
        measure=measure_of(model, config.adversarial.measure),
        seed=seed,
        device=device,
    )


def check_again(folder: Path, config: RunConfig, pack: Pack) -> None:
    """Make the checks of a finished cell that need the model of another one, which is trained by now."""
    mixture = mixture_of(folder)
    with threads(config.training.threads):
        model = Segmenter.load(folder / "model") if mixture is None else load_mixture(folder, mixture)
        _check(folder, config, pack, model)


def _check(folder: Path, config: RunConfig, pack: Pack, model: BeliefModel) -> None:
    options = config.evaluation
    if options.masking_checks:
        write_masking_checks(
            model,
            pack,
            rows_of_split(pack, "test", config.data, count=options.images),
            folder,
            count=options.masking_checks,
            seed=config.training.seed,
            device=device_of(config.training.accelerator),
            surrogate=surrogate_for(folder, options.surrogate),
        )


class _Stages:
    """Keeps ``progress.json`` (what others look at) and the seconds of each stage over interruptions."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "progress.json"
        self.spent = dict(read_checked(self.path, Progress).seconds) if self.path.exists() else {}
        self.since = time.perf_counter()

    def reporter(self, stage: str) -> ProgressCallback:
        """Return what a stage calls when a step of it is done."""

        def report(done: int, total: int) -> None:
            self.add(stage)
            write_json(self.path, {"stage": stage, "done": done, "total": total, "seconds": self.spent})

        return report

    def add(self, stage: str) -> None:
        """Count the time since the last call to a stage."""
        now = time.perf_counter()
        self.spent[stage] = self.spent.get(stage, 0.0) + now - self.since
        self.since = now
