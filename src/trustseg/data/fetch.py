"""Download of QaTa-COV19-v2 from Kaggle, on request only."""

from pathlib import Path
from typing import Final

from trustseg.errors import DataError, MissingPackageError

__all__ = ["fetch_qata"]

HANDLE: Final = "aysendegerli/qatacov19-dataset"
PAGE: Final = f"https://www.kaggle.com/datasets/{HANDLE}"


def fetch_qata(target: Path | None = None) -> Path:
    """Download QaTa-COV19 through kagglehub and return the folder that holds it.

    Read the licence on Kaggle's page first; it is said to allow non-commercial use only.

    Args:
        target: folder to download into; None takes kagglehub's own cache.

    Returns:
        A folder that ``find_cases`` and ``open_dataset`` understand.

    Raises:
        MissingPackageError: if kagglehub is not installed.
        DataError: if the download fails.

    Reference:
        Degerli et al., "OSegNet: Operational Segmentation Network for COVID-19 Detection Using Chest X-Ray Images",
        ICIP 2022, arXiv:2202.10185.
    """
    try:
        import kagglehub
    except ImportError as error:
        raise MissingPackageError(
            "downloads from Kaggle need kagglehub, which is not installed; "
            f"run: pip install 'trustseg[qata]', or download by hand from {PAGE}"
        ) from error
    try:
        found = kagglehub.dataset_download(HANDLE, output_dir=None if target is None else str(target))
    except Exception as error:  # kagglehub lets errors of several network libraries through
        raise DataError(
            f"the download of {HANDLE} from kaggle.com failed ({type(error).__name__}: {error}); "
            f"if you are offline, download it elsewhere from {PAGE}, unpack it and name its folder"
        ) from error
    return Path(found)
