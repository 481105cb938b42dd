"""The cells of a study that train nothing: what they combine, whether it is there, and the model that comes of it."""

from pathlib import Path

from trustseg.errors import RunError
from trustseg.evaluation import load_model
from trustseg.models import BeliefModel, Segmenter
from trustseg.models.mixtures import dropout_layers
from trustseg.run_files import Description, read_checked
from trustseg.study.grid import Mixture

__all__ = ["is_blocked", "load_mixture", "mixture_of"]


def mixture_of(folder: Path) -> Mixture | None:
    """Return what a cell combines, read from its folder; None of a cell that is trained.

    Raises:
        DataError: if ``cell.json`` is damaged.
    """
    about = read_checked(folder / "cell.json", Description).mixture
    return None if about is None else Mixture(tuple(about.members), about.samples, about.dropout)


def is_blocked(folder: Path) -> bool:
    """Return whether a cell has to wait for others: members of its mixture that are neither done nor failed."""
    mixture = mixture_of(folder)
    members = () if mixture is None else mixture.members
    return not all(
        any((folder.parent / member / marker).exists() for marker in ("done.json", "failed.json")) for member in members
    )


def load_mixture(folder: Path, mixture: Mixture) -> BeliefModel:
    """Return the model of a mixture's cell.

    The members' calibrations are ignored, as they are in the members' own cells.

    Args:
        folder: the cell's folder, next to those of its members.
        mixture: what it combines.

    Raises:
        RunError: if a member failed or is not done.
        MissingFileError: if a member lacks its model.
        ModelError: if a model is damaged.
    """
    for member in mixture.members:
        if not (folder.parent / member / "done.json").exists():
            failed = (folder.parent / member / "failed.json").exists()
            raise RunError(
                f"skipped, as its member '{member}' {'failed' if failed else 'is not done'}; fix the cause and run the "
                "same command again"
            )
    first, *others = (folder.parent / member / "model" for member in mixture.members)
    if not mixture.samples:
        return load_model(first, ensemble=others, uncalibrated=True)
    has_dropout = bool(dropout_layers(Segmenter.load(first)))
    return load_model(
        first, samples=mixture.samples, dropout=None if has_dropout else mixture.dropout, uncalibrated=True
    )
