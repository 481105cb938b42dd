"""The layouts that a dataset may have, by name, and the search through them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from trustseg.data.cases import Listing
from trustseg.data.folder import folder
from trustseg.data.groups import one_spelling
from trustseg.data.qata import qata, rearranged
from trustseg.errors import DataError, MissingFileError

__all__ = ["LAYOUTS", "find_cases"]

LAYOUTS: Final[Mapping[str, Callable[[Path], Listing]]] = {"qata": qata, "rearranged": rearranged, "folder": folder}


def find_cases(path: Path | str) -> Listing:
    """Return the cases under a path, read by the first layout of ``LAYOUTS`` that finds any.

    Names are made unique: a name that comes twice (``train/images/1.png``, ``test/images/1.png``) gets its split in
    front (``train-1``, ``test-1``).

    Args:
        path: a dataset folder; nothing is written there.

    Returns:
        The cases in the order train, test, control, sorted by name in each folder, with what found no partner.

    Raises:
        MissingFileError: if there is no such folder.
        DataError: if it holds no image in a known layout, or two files for one case.
    """
    path = Path(path)
    if not path.is_dir():
        kind = "is a file" if path.is_file() else "does not exist"
        raise MissingFileError(f"{path} {kind}, expected a dataset folder; check the path (data.path)")
    if (path / "pack.json").is_file():
        raise DataError(f"{path} is a pack, expected the folder of images that it was made from; name that folder")
    for name, find in LAYOUTS.items():
        if listing := find(path):
            return _unique(replace(listing, cases=one_spelling(listing.cases), layout=name))
    raise DataError(
        f"{path} holds no images in a known layout, expected images/ and masks/, or Train Set/Images and "
        "Train Set/Ground-truths, with PNG, JPEG, BMP or TIFF files; check the path or rename the folders"
    )


def _unique(listing: Listing) -> Listing:
    """Return the listing with the split in front of every name that comes twice."""
    counts = Counter(case.name for case in listing.cases)
    if len(counts) == len(listing.cases):
        return listing
    cases = tuple(
        replace(case, name=f"{case.split}-{case.name}") if counts[case.name] > 1 else case for case in listing.cases
    )
    again = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if again:
        raise DataError(f"{len(again)} names come twice, such as {again[0]}, expected one image a name; rename them")
    return replace(listing, cases=cases)
