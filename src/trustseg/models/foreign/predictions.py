"""A folder of predictions: probability maps or masks of one model, one file per image."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from trustseg.data.cases import Declared
from trustseg.data.decode import read_mask
from trustseg.data.pairing import match, stem_of
from trustseg.errors import DataError, MissingFileError, QuestionError

__all__ = ["Predictions", "open_predictions"]

Map = npt.NDArray[np.float32]
Kind = Literal["probability", "mask"]

_FILES: Final = (".png", ".npy", ".npz", ".tif", ".tiff")
_LABELS: Final = 32  # values up to here, and few of them, are labels of classes rather than grey levels


class Predictions(Mapping[str, Map]):
    """Foreground probabilities (H, W) float32 in [0, 1] by the name of the case, read when they are asked for.

    Attributes:
        folder: where the files lie.
        kind: ``"probability"``, or ``"mask"`` where every value is 0 or 1.
    """

    def __init__(
        self, folder: Path, files: Mapping[str, Path], kind: Kind, label: int | None, about: Sequence[str]
    ) -> None:
        self.folder = folder
        self.kind: Kind = kind
        self._files = dict(files)
        self._label = label
        self._about = tuple(about)

    def __getitem__(self, name: str) -> Map:
        """Return the probability map of a case."""
        return _read(self._files[name], self._label, self.kind)

    def __contains__(self, name: object) -> bool:
        """Return whether a case has a prediction; no file is read."""
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the cases, sorted."""
        return iter(self._files)

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._files)

    def describe(self) -> list[str]:
        """Return what was found, in sentences."""
        kind = "probability maps" if self.kind == "probability" else "masks, without probabilities"
        which = "" if self._label is None else f" Foreground is class {self._label}."
        return [f"{len(self)} predictions in '{self.folder.absolute().name}': {kind}.{which}", *self._about]

    def paired(self, names: Sequence[str]) -> "Predictions":
        """Return the predictions under the names of the cases of a data set; a common affix may differ.

        Cases without a prediction are left out: those of another split, say.

        Raises:
            DataError: if no case has a prediction, a prediction no case, or a case several.
        """
        if set(self._files) <= set(names):
            files = {name: self._files[name] for name in names if name in self._files}
            return Predictions(self.folder, files, self.kind, self._label, self._about)
        cases = {Path(f"{name}.png"): name for name in names}
        found = match(list(cases), list(self._files.values()), Declared())
        doubtful = [str(path.name) for path in (*found.unpaired_masks, *found.claimed)]
        lone = [path.stem for path in found.unpaired_images]
        if not found.masks or doubtful or any(len(masks) > 1 for masks in found.masks.values()):
            without = f"{len(lone)} of {len(names)} cases have no prediction (such as '{lone[0]}')" if lone else ""
            extra = f"{len(doubtful)} predictions have no case (such as '{doubtful[0]}')" if doubtful else ""
            both = " and ".join(part for part in (without, extra) if part) or "some cases have several predictions"
            raise DataError(f"'{self.folder}': {both}; name each prediction after its image")
        files = {cases[image]: masks[0] for image, masks in sorted(found.masks.items())}
        other = next(name for name, path in files.items() if stem_of(path) != name)
        named = f"Their names are not those of the images: '{files[other].name}' is taken to be of '{other}'."
        return Predictions(self.folder, files, self.kind, self._label, (*self._about, named))


def open_predictions(folder: Path, *, class_index: int | None = None) -> Predictions:
    """Return the predictions in a folder: PNG or TIFF (8 or 16 bits), ``.npy``, or ``.npz`` as nnU-Net writes them.

    Whether the files are probability maps or masks is decided for the folder as a whole, from all files.

    Args:
        folder: holds one file per image, named after it.
        class_index: channel, or label, of the foreground, where there are several.

    Raises:
        MissingFileError: if there is no such folder, or no prediction in it.
        DataError: if a file cannot be read, holds no probabilities, or two have one name.
        QuestionError: if files hold several classes and ``class_index`` is None.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"no folder '{folder}' of predictions; check the path")
    files, about = _files_of(folder)
    scans = {path: _scan(path) for path in files.values()}
    label = _label_of(scans, class_index)
    hard = label is not None or all(scan["hard"] for scan in scans.values())
    several = max(scan["channels"] for scan in scans.values()) > 1
    if class_index is not None and label is None and not several and not (hard and class_index == 1):
        raise DataError(f"'{folder}' holds one map per case and no class {class_index}; remove class_index")
    sizes = {scan["shape"] for scan in scans.values()}
    height, width = next(iter(sizes))
    about.append(f"Their size is {width}x{height} pixels." if len(sizes) == 1 else f"They have {len(sizes)} sizes.")
    if several:
        label = 1 if class_index is None else class_index
    return Predictions(folder, files, "mask" if hard else "probability", label, about)


def _files_of(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the prediction of each case, and sentences on what was passed over."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    paths = [path for path in found if path.suffix.lower() in _FILES]
    others = [path for path in found if path.suffix.lower() not in _FILES]
    if lossy := [path for path in others if path.suffix.lower() in (".jpg", ".jpeg")]:
        raise DataError(f"'{lossy[0]}' is a JPEG file, which changes predictions; write PNG, .npy or .npz")
    if not paths:
        raise MissingFileError(f"no predictions in '{folder}'; expected one PNG, .npy or .npz file per image")
    notes = [f"{len(others)} other files were passed over, such as '{others[0].name}'."] if others else []
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(stem_of(path), []).append(path)
    files = {name: group[0] for name, group in groups.items()}
    doubled = {name: group for name, group in groups.items() if len(group) > 1}
    for name, group in doubled.items():  # nnU-Net writes the mask next to the probabilities
        maps = [path for path in group if path.suffix.lower() == ".npz"]
        if len(maps) != 1:
            raise DataError(f"'{group[0]}' and '{group[1]}' are predictions of one case; remove one of them")
        files[name] = maps[0]
    if doubled:
        notes.append(f"{len(doubled)} masks with probabilities of the same name (.npz) were passed over.")
    return files, notes


def _scan(path: Path) -> dict[str, Any]:
    """Return the size of a file, whether its values are hard, its labels (if few and whole), and its channels."""
    values = _values(path)
    channels = values.shape[0] if values.ndim == 3 else 1
    whole = values.dtype.kind in "ub"
    labels = _distinct(values)[: _LABELS + 2] if whole else []
    top = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    hard = bool((whole and set(labels) <= {0, 1}) or (whole and set(labels) <= {0, int(top)}))
    if not whole:
        _check_probabilities(values, path)
        hard = bool(((values == 0) | (values == 1)).all())
    return {"shape": values.shape[-2:], "hard": hard, "labels": labels, "channels": channels, "whole": whole}


def _distinct(values: npt.NDArray[Any]) -> list[int]:
    """Return the distinct values, rising; bytes are counted, which is quicker than sorting them."""
    if values.dtype == np.uint8:
        return [int(value) for value in np.flatnonzero(np.bincount(values.ravel(), minlength=256))]
    return [int(value) for value in np.unique(values)]


def _label_of(scans: Mapping[Path, Mapping[str, Any]], class_index: int | None) -> int | None:
    """Return the label of the foreground where the files are label maps of several classes, else None."""
    whole = [scan for scan in scans.values() if scan["whole"]]
    found = {label for scan in whole for label in scan["labels"]}
    if len(counts := {scan["channels"]: path for path, scan in scans.items()}) > 1:
        told = " and ".join(f"'{path}' {count}" for count, path in sorted(counts.items()))
        raise DataError(f"numbers of classes differ: {told}; write all predictions in one form")
    if channels := counts.keys() - {1}:
        if class_index is None and max(channels) > 2:
            first = next(path for path, scan in scans.items() if scan["channels"] > 2)
            raise QuestionError(
                f"'{first}' holds {max(channels)} classes; name the foreground with --convention class_index=1"
            )
        return None
    if not found or not whole or len(whole) < len(scans) or max(found) > _LABELS:
        return None
    if found <= {0, 1} and class_index != 0:
        return None
    first = max(scans, key=lambda path: max(scans[path]["labels"]))
    if class_index is None:
        raise QuestionError(
            f"'{first}' and others hold labels {', '.join(map(str, sorted(found)))}; name the foreground with "
            "--convention class_index=1"
        )
    if class_index not in found:
        raise DataError(f"no prediction in '{first.parent}' holds label {class_index}; found are {sorted(found)}")
    return class_index


def _read(path: Path, index: int | None, kind: Kind) -> Map:
    """Return the foreground probabilities of a file; whole numbers of a mask are foreground unless 0."""
    values = _values(path)
    if values.ndim == 3:
        chosen = values.shape[0] - 1 if index is None else index
        if not 0 <= chosen < values.shape[0]:
            raise DataError(f"'{path}' holds classes 0 to {values.shape[0] - 1}, not {index}")
        values = values[chosen]
    elif index is not None:
        return np.asarray(values == index, dtype=np.float32)
    if values.dtype.kind == "f":
        _check_probabilities(values, path)
        return np.asarray(values, dtype=np.float32)
    if values.dtype.kind == "b" or kind == "mask":
        return np.asarray(values > 0, dtype=np.float32)
    found: Map = (values / np.iinfo(values.dtype).max).astype(np.float32)
    return found


def _check_probabilities(values: npt.NDArray[Any], path: Path) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1 + 1e-6):  # NaN fails too
        raise DataError(f"'{path}' holds values from {low:g} to {high:g}, expected probabilities from 0 to 1")


def _values(path: Path) -> npt.NDArray[Any]:
    """Return the values of a file: (H, W), or (K, H, W) probabilities of several classes."""
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".npz"):
        picture = read_mask(path)
        if picture.coloured or picture.alpha is not None:
            raise DataError(f"'{path}' is coloured or partly transparent, expected a grey image of probabilities")
        return picture.pixels
    try:
        content = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        values = content if isinstance(content, np.ndarray) else content[_key(content, path)]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"'{path}' cannot be read as numbers ({error}); save it again with numpy.save") from error
    if values.ndim == 4 and values.shape[1] == 1:  # nnU-Net: classes, one slice, height, width
        values = values[:, 0]
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 3 and values.shape[2] < min(5, *values.shape[:2]):
        raise DataError(f"'{path}' holds {values.shape}, its classes last; save them first, as (K, H, W)")
    if values.ndim not in (2, 3) or not values.size or values.dtype.kind not in "ubf":
        if values.dtype.kind == "i" and values.size and values.min() >= 0 and values.ndim in (2, 3):
            return values.astype(np.uint8) if values.max() < 256 else values.astype(np.uint16)
        raise DataError(f"'{path}' holds {values.dtype} {values.shape}, expected (H, W) or (K, H, W) probabilities")
    return values


def _key(content: Any, path: Path) -> str:  # noqa: ANN401 - numpy's archive
    names = list(content.files)
    known = [name for name in ("probabilities", "softmax", "arr_0") if name in names]
    if not known and len(names) != 1:
        raise DataError(f"'{path}' holds arrays {', '.join(names)}, expected 'probabilities' as nnU-Net writes them")
    return known[0] if known else names[0]
