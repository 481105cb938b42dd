"""One training from its configuration to a saved model, resumable at any moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from trustseg.background_writer import background_writer
from trustseg.config import RunConfig
from trustseg.data import Pack, split_cases
from trustseg.data.batches import cache_pack, pack_loader
from trustseg.data.training_record import write_preprocessing, write_splits
from trustseg.errors import AttackError, BeliefError, ConfigError, MissingPackageError, RunError, is_out_of_memory
from trustseg.models import Segmenter, build_segmenter, load_encoder_weights, read_encoder_weights
from trustseg.progress import ProgressCallback
from trustseg.randomness import derive_seed
from trustseg.training.checkpointing import AtomicCheckpointIO, Checkpointing, Patience
from trustseg.training.cost import Cost
from trustseg.training.hardware import (
    compile_network,
    is_compiler_error,
    out_of_memory_error,
    reason_of,
    require_precision,
    threads,
)
from trustseg.training.module import SegmentationModule
from trustseg.training.process_state import quiet_lightning, restored_determinism, restored_interrupts
from trustseg.training.progress_bar import ProgressBar
from trustseg.training.validation import monitor_of, require_foreground, shows_foreground

__all__ = ["initial_segmenter", "train"]


def train(
    config: RunConfig, pack: Pack, folder: Path, *, progress: bool = False, report: ProgressCallback | None = None
) -> Segmenter:
    """Train the model of a run, or go on with it, and return the one of the epoch that ``training.monitor`` chooses.

    Everything is kept in ``folder``: ``metrics.csv``, ``checkpoints/`` until the training is finished, then ``model/``,
    which also says whom the model has seen and which epoch it is of. The last epoch is validated whatever its number,
    and kept where no validation image shows foreground, as nothing can choose an epoch there. A finished training is
    not repeated; a killed one goes on from its last epoch that was written and ends with the same weights as an
    uninterrupted one.

    Args:
        config: the run.
        pack: its images; the test images are not looked at.
        folder: where the run lives.
        progress: whether to draw a progress bar on stderr.
        report: called after each epoch with the number done and the number in all.

    Returns:
        The segmenter of that epoch, in eval mode, on the CPU.

    Raises:
        DataError: if the images cannot be split as asked.
        ConfigError: if a setting does not fit this machine.
        RunError: if the loss stops being finite, memory runs out, or the checkpoint of a killed training is damaged.
    """
    if not (folder / "model" / "model.json").exists():
        _fit(config, pack, folder, progress=progress, report=report)
    # A model that was just trained and one that was found must compute the same bits: both come from the file.
    return Segmenter.load(folder / "model", head=config.model.head).to(memory_format=torch.channels_last)


def _fit(config: RunConfig, pack: Pack, folder: Path, *, progress: bool, report: ProgressCallback | None) -> None:
    splits = split_cases(
        pack.index,
        fold=config.data.fold,
        folds=config.data.folds,
        validation_fraction=config.data.validation_fraction,
        seed=config.data.split_seed,
        near_copies=config.data.near_copies,
    )
    require_foreground(pack, splits)
    options = config.training
    module = SegmentationModule(initial_segmenter(config), config, images=len(pack))
    chooses = shows_foreground(pack.index, splits.validation)
    monitor = monitor_of(config) if chooses else "last"
    checkpointing = Checkpointing(folder, report, monitor=monitor, defined=chooses)
    with quiet_lightning(), restored_interrupts(), restored_determinism(), threads(options.threads):
        patience, cost = options.patience if chooses else None, Cost(module.segmenter.network)
        trainer = _trainer(config, folder, checkpointing, cost, patience=patience, progress=progress)
        device = trainer.strategy.root_device
        require_precision(options.precision, device)
        if options.compile:
            compile_network(module.segmenter)
        pixels = cache_pack(pack, config.data.residence, device=device)
        gpus = [device] if device.type == "cuda" else []
        with (
            _readable_errors(config, device, trainer),
            torch.random.fork_rng(devices=gpus),
            background_writer() as checkpointing.later,
        ):
            trainer.fit(
                module,
                pack_loader(pixels, splits.train, batch_size=options.batch_size, shuffle_seed=options.seed),
                pack_loader(pixels, splits.validation, batch_size=options.batch_size),
                ckpt_path=checkpointing.resumable(),
                weights_only=True,
            )
        if trainer.is_global_zero:
            write_splits(folder / "model", pack, splits)
            write_preprocessing(folder / "model", pack)
            checkpointing.finish(module.segmenter)
        trainer.strategy.barrier("the model is written")


@contextmanager
def _readable_errors(config: RunConfig, device: torch.device, trainer: pl.Trainer) -> Iterator[None]:
    """Turn what can go wrong in a step into an error that says what to change."""
    try:
        yield
    except FloatingPointError as error:
        raise RunError(str(error)) from error
    except (AttackError, BeliefError) as error:
        raise RunError(f"training failed in epoch {trainer.current_epoch + 1}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise out_of_memory_error(config, device) from error
        if config.training.compile and is_compiler_error(error):
            raise ConfigError(
                f"the backward pass of the network could not be compiled ({reason_of(error)}); set "
                "training.compile=false"
            ) from error
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "batch normalisation needs more than one value per channel: the encoder reduces "
            f"data.size={config.data.size} to one pixel, and a batch holds one image; set training.batch_size to 2 or "
            "more and train on at least as many images, or raise data.size"
        ) from error


def initial_segmenter(config: RunConfig) -> Segmenter:
    """Return the segmenter that a training begins with: its weights are drawn from the run's seed, or from a file.

    The global random state is left as found.

    Raises:
        MissingFileError: if the weights of the encoder are not there.
        ModelError: if architecture, encoder and weights do not fit.
    """
    weights, normalisation = None, {}
    if config.model.weights is not None:
        weights = read_encoder_weights(config.model.weights, config.model.encoder)
        if weights.mean:
            normalisation = {"mean": weights.mean, "deviation": weights.deviation}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(config.training.seed, "weights"))  # of the CPU, and no GPU's
        segmenter = build_segmenter(
            architecture=config.model.architecture,
            encoder=config.model.encoder,
            head=config.model.head,
            channels=config.data.channels,
            size=config.data.size,
            prior=config.model.prior,
            dropout=config.model.dropout,
            depth=config.model.depth,
            decoder_channels=config.model.decoder_channels,
            evidence=config.model.evidence,
            accept_noncommercial=config.model.accept_noncommercial,
            **normalisation,
        )
    if weights is not None:
        load_encoder_weights(segmenter, weights)
    return segmenter.to(memory_format=torch.channels_last)


def _trainer(
    config: RunConfig, folder: Path, checkpointing: Checkpointing, cost: Cost, *, patience: int | None, progress: bool
) -> pl.Trainer:
    options = config.training
    callbacks: list[Callback] = [checkpointing, cost]
    if patience is not None:
        callbacks.append(Patience(patience))
    if progress:
        callbacks.append(ProgressBar())
    try:
        return pl.Trainer(
            default_root_dir=folder.absolute(),  # Lightning expands a tilde
            accelerator=options.accelerator,
            devices=options.devices,
            # One-GPU jobs keep Lightning away from SLURM's signals; the launcher owns them.
            plugins=[AtomicCheckpointIO(), *([LightningEnvironment()] if options.devices == 1 else [])],
            precision=options.precision,
            max_epochs=options.epochs,
            accumulate_grad_batches=options.accumulate,
            check_val_every_n_epoch=min(options.validation_every, options.epochs),
            num_sanity_val_steps=0,
            deterministic=options.deterministic,
            benchmark=not options.deterministic,
            callbacks=callbacks,
            logger=_trackers(config, folder),
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(
            f"training.accelerator={options.accelerator}, training.devices={options.devices} does not fit this machine "
            f"({str(error).splitlines()[0]}); set training.accelerator=cpu or fewer devices"
        ) from error


def _trackers(config: RunConfig, folder: Path) -> list[Logger]:
    """Return the tracker asked for in addition to ``metrics.csv``, if any."""
    wanted = config.training.logger
    try:
        if wanted == "tensorboard":
            from lightning.pytorch.loggers import TensorBoardLogger

            return [TensorBoardLogger(folder, name="tensorboard", version="")]
        if wanted == "mlflow":
            from lightning.pytorch.loggers import MLFlowLogger

            return [MLFlowLogger("trustseg", run_name=folder.name, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")]
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"training.logger={wanted} needs a package that is not installed ({error}); "
            f"run pip install 'trustseg[{wanted}]' or set training.logger=csv"
        ) from error
    return []
