"""One training from its configuration to a saved model, resumable at any moment."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
import polars
import torch
import yaml
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins.environments import LightningEnvironment

from trustseg.config import RunConfig
from trustseg.data import Pack, split_cases
from trustseg.data.module import pack_loader
from trustseg.errors import ConfigError, MissingPackageError, RunError
from trustseg.files import replacing, write_text
from trustseg.models import Segmenter, build_segmenter, load_encoder_weights
from trustseg.randomness import derive_seed
from trustseg.training.module import SegmentationModule

__all__ = ["require_same_run", "train"]

Report = Callable[[int, int], None]


def train(
    config: RunConfig, pack: Pack, folder: Path, *, progress: bool = False, report: Report | None = None
) -> Segmenter:
    """Train the model of a run, or go on with it, and return the best one of the validation set.

    Everything is kept in ``folder``: ``checkpoints/last.ckpt`` (after each epoch), ``metrics.csv`` and at the end
    ``model/``. A finished training is not repeated; a killed one goes on from its last finished epoch and ends with the
    same weights as an uninterrupted one.

    Args:
        config: the run.
        pack: its images; the test images are not looked at.
        folder: where the run lives.
        progress: whether to draw a progress bar.
        report: called after each epoch with the number done and the number in all.

    Returns:
        The segmenter of the best validated epoch, in eval mode, on the CPU.

    Raises:
        DataError: if the images cannot be split as asked.
        ConfigError: if a setting does not fit this machine.
        RunError: if the loss stops being finite.
    """
    if (folder / "model" / "model.json").exists():
        return Segmenter.load(folder / "model", head=config.model.head)
    splits = split_cases(
        pack.index,
        fold=config.data.fold,
        folds=config.data.folds,
        validation_fraction=config.data.validation_fraction,
        seed=config.data.split_seed,
    )
    options = config.training
    module = SegmentationModule(_initial_segmenter(config), config)
    best = ModelCheckpoint(
        folder / "checkpoints", filename="best-{epoch}", monitor="validation_score", mode="max", save_top_k=1
    )
    last = folder / "checkpoints" / "last.ckpt"
    with _quiet_lightning():
        trainer = _trainer(config, folder, [best, _SaveLast(last, report)], progress=progress)
        try:
            trainer.fit(
                module,
                pack_loader(pack, splits.train, batch_size=options.batch_size, shuffle_seed=options.seed),
                pack_loader(pack, splits.validation, batch_size=options.batch_size),
                ckpt_path=str(last) if last.exists() else None,
                weights_only=True,
            )
        except FloatingPointError as error:
            raise RunError(str(error)) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    kept = last if options.monitor == "last" else best.best_model_path or last
    state = torch.load(kept, map_location="cpu", weights_only=True)["state_dict"]
    segmenter = module.segmenter.cpu()
    segmenter.load_state_dict({name.removeprefix("segmenter."): value for name, value in state.items()})
    _merge_logs(folder)
    segmenter.eval().save(folder / "model")
    return segmenter


def require_same_run(config: RunConfig, folder: Path) -> None:
    """Write the configuration into a new run's folder; refuse to go on with another one in an old run's.

    Raises:
        ConfigError: if the folder holds a run with another configuration.
    """
    file = folder / "config.yaml"
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    if not file.exists():
        write_text(file, text)
    elif file.read_text() != text:
        raise ConfigError(
            f"'{folder}' holds a run with other settings (see its config.yaml), the same were expected; "
            "give another --output, or delete that folder"
        )


def _initial_segmenter(config: RunConfig) -> Segmenter:
    """Build the segmenter with weights drawn from the run's seed; the global random state is left as found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.training.seed, "weights"))
        segmenter = build_segmenter(
            architecture=config.model.architecture,
            encoder=config.model.encoder,
            head=config.model.head,
            channels=config.data.channels,
            size=config.data.size,
            prior=config.model.prior,
            accept_noncommercial=config.model.accept_noncommercial,
        )
    if config.model.weights is not None:
        load_encoder_weights(segmenter, config.model.weights)
    return segmenter.to(memory_format=torch.channels_last)


def _trainer(config: RunConfig, folder: Path, checkpoints: list[Callback], *, progress: bool) -> pl.Trainer:
    options = config.training
    callbacks = list(checkpoints)
    if options.patience is not None:
        callbacks.append(
            EarlyStopping("validation_score", mode="max", patience=options.patience, check_on_train_epoch_end=False)
        )
    if progress:
        callbacks.append(TQDMProgressBar())
    try:
        return pl.Trainer(
            default_root_dir=folder,
            accelerator=options.accelerator,
            devices=options.devices,
            # One-GPU jobs keep Lightning away from SLURM's signals; the launcher owns them.
            plugins=LightningEnvironment() if options.devices == 1 else None,
            precision=options.precision,
            max_epochs=options.epochs,
            check_val_every_n_epoch=min(options.validation_every, options.epochs),
            num_sanity_val_steps=0,
            gradient_clip_val=options.clip_norm,
            deterministic=options.deterministic,
            callbacks=callbacks,
            logger=_loggers(config, folder),
            log_every_n_steps=1,
            enable_progress_bar=progress,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"training.accelerator={options.accelerator}, training.devices={options.devices} does not fit this machine "
            f"({str(error).splitlines()[0]}); set training.accelerator=cpu or fewer devices"
        ) from error


class _SaveLast(Checkpoint):
    """Write ``last.ckpt`` after every epoch, validation included, and report progress."""

    def __init__(self, path: Path, report: Report | None) -> None:
        self.path = path
        self.report = report

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path)
        if self.report is not None:
            self.report(trainer.current_epoch + 1, trainer.max_epochs or 0)


def _loggers(config: RunConfig, folder: Path) -> list[Logger]:
    """Return the CSV logger, with a file of its own for every start of the run, and the tracker asked for."""
    start = len(list((folder / "log").glob("*/")))
    loggers: list[Logger] = [CSVLogger(folder, name="log", version=str(start), flush_logs_every_n_steps=1)]
    try:
        if config.training.logger == "tensorboard":
            from lightning.pytorch.loggers import TensorBoardLogger

            loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
        elif config.training.logger == "mlflow":
            from lightning.pytorch.loggers import MLFlowLogger

            loggers.append(
                MLFlowLogger("trustseg", run_name=folder.name, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
            )
    except ModuleNotFoundError as error:
        extra = config.training.logger
        raise MissingPackageError(
            f"training.logger={extra} needs a package that is not installed ({error}); "
            f"run pip install 'trustseg[{extra}]' or set training.logger=csv"
        ) from error
    return loggers


def _merge_logs(folder: Path) -> None:
    """Write ``metrics.csv`` from the logs of all starts; an epoch that was repeated counts once, the last time."""
    logs = sorted((folder / "log").glob("*/metrics.csv"), key=lambda path: int(path.parent.name))
    merged = polars.DataFrame()
    for log in logs:
        rows = polars.read_csv(log)
        if len(rows) and len(merged):
            merged = merged.filter(polars.col("epoch") < rows["epoch"].min())
        merged = polars.concat([merged, rows], how="diagonal_relaxed")
    with replacing(folder / "metrics.csv") as temporary:
        merged.write_csv(temporary)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice (more workers, tips, hardware it found) out of the user's terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.pytorch")
            yield
    finally:
        logger.setLevel(level)
