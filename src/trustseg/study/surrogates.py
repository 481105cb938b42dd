"""Surrogates: which model of a study lends its adversarial images to which, fixed by the plan."""

from pathlib import Path

from trustseg.evaluation import Surrogate
from trustseg.files import read_json
from trustseg.models import Segmenter
from trustseg.run_files import Description, checks_file, read_checked
from trustseg.study.folder import is_done, planned_cells
from trustseg.study.mixtures import mixture_of

__all__ = ["awaiting_surrogate", "given_surrogate", "surrogate_for"]

_SAME_IMAGES = ("data.size", "data.channels")


def surrogate_for(cell: Path, given: str | None = None) -> Surrogate | None:
    """Return the model that is tried on a cell's; None if there is none, or it is not trained yet.

    Args:
        cell: the cell's folder, with ``cell.json``.
        given: folder of a model to take instead, ``evaluation.surrogate``.

    Raises:
        MissingFileError: if ``given`` holds no model.
    """
    if given is not None:
        return given_surrogate(given)
    peer = _peer(cell)
    return None if peer is None or not _is_trained(peer) else Surrogate(peer.name, Segmenter.load(peer / "model"))


def given_surrogate(path: str) -> Surrogate:
    """Return the model of a folder, called by the name of its run.

    Raises:
        MissingFileError: if the folder holds no model.
    """
    folder = Path(path).absolute()
    return Surrogate(folder.parent.name if folder.name == "model" else folder.name, Segmenter.load(folder))


def awaiting_surrogate(folder: Path) -> list[Path]:
    """Return the cells of a study whose checks were made before the model that they borrow from was trained."""
    waiting = []
    for cell in _cells(folder):
        file = checks_file(cell)
        if is_done(cell) and file.is_file() and read_json(file).get("surrogate") is None:
            peer = _peer(cell)
            if peer is not None and _is_trained(peer):
                waiting.append(cell)
    return waiting


def _peer(cell: Path) -> Path | None:
    """Return the cell of the same fold whose model is borrowed; None if there is none.

    It is never a mixture, and never a member of the mixture that borrows: their images would be its own. One of the
    same seed goes before others, then one of the same head, then one trained without attacks, then the first planned.
    """
    own = read_checked(cell / "cell.json", Description)
    mixture = mixture_of(cell)
    barred = {cell.name, *(() if mixture is None else mixture.members)}
    ranked = []
    for place, other in enumerate(_cells(cell.parent.parent)):
        about = read_checked(other / "cell.json", Description) if other.name != cell.name else own
        lends = other.name not in barred and about.mixture is None
        if lends and about.fold == own.fold and _images(about) == _images(own):
            rank = (about.seed != own.seed, about.head != own.head, about.selection != "none", place)
            ranked.append((rank, other))
    return min(ranked)[1] if ranked else None


def _images(about: Description) -> list[object]:
    """Return what a grid says of the images that a cell's model takes."""
    return [about.values.get(key) for key in _SAME_IMAGES]


def _cells(folder: Path) -> list[Path]:
    """Return the cells of a study's plan; none where there is no plan."""
    return [folder / "cells" / name for name in planned_cells(folder)]


def _is_trained(cell: Path) -> bool:
    return (cell / "model" / "model.json").exists()
