"""The cells of a study that train nothing: what they combine, whether it is there, and the model that comes of it."""

from pathlib import Path

from trustseg.errors import RunError
from trustseg.evaluation import load_model
from trustseg.models import BeliefModel, Segmenter
from trustseg.models.mixtures import dropout_layers
from trustseg.run_files import Description, MixtureDescription, read_checked
from trustseg.study.folder import is_done

__all__ = ["is_blocked", "load_mixture", "mixture_of"]


def mixture_of(folder: Path) -> MixtureDescription | None:
    """Return what a cell combines, read from its folder; None of a cell that is trained.

    Raises:
        DataError: if ``cell.json`` is damaged.
    """
    return read_checked(folder / "cell.json", Description).mixture


def is_blocked(folder: Path) -> bool:
    """Return whether a cell has to wait for others: members of its mixture that are neither done nor failed."""
    mixture = mixture_of(folder)
    members = [] if mixture is None else [folder.parent / name for name in mixture.members]
    return not all(is_done(member) or (member / "failed.json").exists() for member in members)


def load_mixture(folder: Path, mixture: MixtureDescription) -> BeliefModel:
    """Return the model of a mixture's cell, which lies next to its members; their calibrations are left aside.

    Raises:
        RunError: if a member failed or is not done.
        MissingFileError: if a member lacks its model.
        ModelError: if a model is damaged.
    """
    for member in mixture.members:
        if not is_done(folder.parent / member):
            state = "failed" if (folder.parent / member / "failed.json").exists() else "is not done"
            raise RunError(f"skipped, as its member '{member}' {state}; fix the cause and run the same command again")
    first, *others = (folder.parent / member / "model" for member in mixture.members)
    if not mixture.samples:
        return load_model(first, ensemble=others, uncalibrated=True)
    rate = None if dropout_layers(Segmenter.load(first)) else mixture.dropout
    return load_model(first, samples=mixture.samples, dropout=rate, uncalibrated=True)
