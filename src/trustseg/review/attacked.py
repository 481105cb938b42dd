"""Pictures of cases under attack, where an evaluation of the same model has recorded them."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trustseg.data.decode import read_image
from trustseg.data.intensity import IntensityScale, render
from trustseg.data.picture import Picture
from trustseg.data.resizing import Area, Fit, image_area, resize_image
from trustseg.errors import DataError
from trustseg.records import model_of
from trustseg.review.cases import Case, CaseFolder
from trustseg.review.pictures import png
from trustseg.text import unicode_text

__all__ = ["AttackedCase", "read_attacked"]

Value = TypeVar("Value", bound=np.uint8 | np.float32)

_GALLERY: Final = "gallery.npz"
_ROUNDED: Final = 1  # grey levels by which a recorded picture may differ from the case's


class AttackedCase(NamedTuple):
    """A case as the model saw it before and under an attack, and the mask then; PNG at the size of the image."""

    attack: str  # name and budget
    side: int  # of the square that the model sees, in pixels
    before: bytes
    after: bytes
    mask: bytes


def read_attacked(path: Path, folder: CaseFolder) -> dict[int, AttackedCase]:
    """Return the recorded pictures of cases by their numbers; empty where no evaluation of the model recorded any.

    A record belongs to a case if it has its name, and the picture before the attack is that of the case's file.
    ``path`` is a run, one of its evaluations, or a table of records in one.

    Raises:
        DataError: if a gallery is damaged.
    """
    cases = {unicode_text(Path(case.image).stem): case for case in folder.cases}
    found: dict[int, AttackedCase] = {}
    for file in _galleries(path, folder.model):
        try:
            with np.load(file, allow_pickle=False) as stored:
                recorded = {name: stored[name] for name in stored.files}
            for row, name in enumerate(recorded["name"]):
                case = cases.get(Path(str(name)).stem)
                if case is not None and case.number not in found:
                    shown = _match(case, recorded, row, folder.white)
                    found |= {} if shown is None else {case.number: shown}
        except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
            raise DataError(f"'{file}' is damaged ({error}); evaluate again, or leave --records out") from error
    return found


def _galleries(path: Path, model: str) -> Iterator[Path]:
    """Yield the galleries of a model at a path, or in the evaluations below it."""
    home = path.parent if path.is_file() else path
    for file in (home / _GALLERY, *sorted(home.glob(f"evaluation*/{_GALLERY}"))):
        if file.is_file() and model and model_of(file) == model:
            yield file


def _match(case: Case, recorded: dict[str, NDArray[np.generic]], row: int, white: int | None) -> AttackedCase | None:
    """Return what a row of a gallery says of a case, None if it is about another image."""
    from trustseg.reporting.labels import describe_eps, is_l2  # ask the attack's entry, which loads torch

    before = recorded["image"][row].astype(np.uint8)
    area = _area_of(case, read_image(case.file), before, white)
    if area is None:
        return None
    after = (recorded["adversarial"][row].astype(np.float32) * 255).round().clip(0, 255).astype(np.uint8)
    mask = _at_image_size(recorded["adversarial_probability"][row].astype(np.float32), area, case) > np.float32(0.5)
    name = str(np.broadcast_to(recorded["condition"], len(recorded["name"]))[row])
    eps = float(np.broadcast_to(recorded["eps"], len(recorded["name"]))[row])
    return AttackedCase(
        attack=f"{name}, budget {describe_eps((name, eps))}{' (L2)' if is_l2(name) else ''}",
        side=before.shape[0],
        before=png(_at_image_size(before, area, case)),
        after=png(_at_image_size(after, area, case)),
        mask=png(mask.astype(np.uint8) * 255),
    )


def _area_of(case: Case, picture: Picture, before: NDArray[np.uint8], white: int | None) -> Area | None:
    """Return the part of a recorded square that shows the case, None if the square shows another image."""
    side = before.shape[0]
    for channels, fit in product((3, 1) if picture.coloured else (1,), get_args(Fit)):
        pixels = resize_image(render(picture, IntensityScale(white), channels=channels, path=case.file), side, fit)
        grey = pixels.mean(axis=2).round() if pixels.ndim == 3 else pixels
        if np.abs(grey.astype(int) - before).max() <= _ROUNDED:
            return image_area(case.width, case.height, size=side, fit=fit)
    return None


def _at_image_size(plane: NDArray[Value], area: Area, case: Case) -> NDArray[Value]:
    part = Image.fromarray(np.ascontiguousarray(plane[area.slices]))
    return np.asarray(part.resize((case.width, case.height), Image.Resampling.BILINEAR))
