"""Checks that a command makes before it writes anything."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trustseg.cli.display import note
from trustseg.errors import ConfigError, DataError
from trustseg.text import plural

if TYPE_CHECKING:
    from trustseg.config import RunConfig
    from trustseg.data import Pack

__all__ = ["idle_attacks", "require_attacks", "require_empty", "require_models", "require_splits"]


def require_empty(folder: Path, *, overwrite: bool) -> None:
    """Raise a ConfigError unless a folder to write is new or empty, or what it holds may be replaced."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"'{folder}' is a file; give a folder by --output")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"'{folder}' is not empty; give another --output, or --overwrite to replace what is in it")


def require_models(runs: "Iterable[RunConfig]") -> None:
    """Build the model of each run once, with its weights, and forget it; the global random state is left as found."""
    from trustseg.training.run import initial_segmenter

    built = set()
    for run in runs:
        parts = (run.model.model_dump_json(), run.data.channels)
        if parts not in built:
            built.add(parts)
            initial_segmenter(run)


def require_attacks(runs: "Iterable[RunConfig]") -> None:
    """Try each attack of the Adversarial Robustness Toolbox once, for one step on a grey image."""
    import torch

    from trustseg.beliefs import Beta

    asked = (attack for run in runs for attack in run.evaluation.attacks)
    foreign = {attack.model_dump_json(): attack for attack in asked if attack.toolbox is not None}
    for attack in foreign.values():
        from trustseg.art import run_art

        options: dict[str, Any] = dict(attack.options)
        parameters = dict(attack.parameters)
        for given in (options, parameters):
            given.update({name: 1 for name in ("steps", "max_iter") if isinstance(given.get(name), int)})
        run_art(
            str(attack.toolbox),
            lambda images: Beta(1 + images, 2 - images),
            torch.full((1, 1, 16, 16), 0.5),
            torch.ones(1, 1, 16, 16),
            eps=max(attack.eps),
            generator=torch.Generator().manual_seed(0),
            parameters=parameters,
            **options,
        )


def idle_attacks(runs: "Iterable[RunConfig]") -> Iterator[str]:
    """Yield a sentence for each run whose training ends before the first adversarial example."""
    for run in runs:
        warmup, epochs = run.adversarial.warmup_epochs, run.training.epochs
        if run.adversarial.selection != "none" and warmup >= epochs:
            yield (
                f"adversarial.warmup_epochs={warmup} is not below training.epochs={epochs}, so "
                f"adversarial.selection={run.adversarial.selection} attacks no image"
            )


def require_splits(runs: "Iterable[RunConfig]", pack: "Pack") -> None:
    """Split the images as each run will; note what is left out, what cannot choose an epoch, and who never attacks."""
    from trustseg.evaluation import splits_of
    from trustseg.training.validation import require_foreground, shows_foreground

    runs = list(runs)
    notes = dict.fromkeys(idle_attacks(runs))
    for data in {run.data.model_dump_json(): run.data for run in runs}.values():
        if len(pack) < 3:
            count = plural(len(pack), "image")
            raise DataError(
                f"'{data.path}' holds {count}; training, validation and test need at least 3, of different patients"
            )
        try:
            splits = splits_of(pack, data)
            require_foreground(pack, splits)
        except DataError as error:
            raise DataError(f"'{data.path}': {error}") from error
        notes |= dict.fromkeys(splits.notes)
        if not shows_foreground(pack.index, splits.train):
            note("no training image has foreground, so there is nothing to learn")
        if not shows_foreground(pack.index, splits.validation):
            fold = "" if data.fold is None else f" of fold {data.fold}"
            note(
                f"all {len(splits.validation)} validation masks{fold} are empty, so Dice cannot select an epoch: "
                "the last one is kept, without early stopping"
            )
    for sentence in notes:
        note(sentence)
