"""Datasets: layouts, checks, packs and patient-grouped splits. Nothing here loads torch.

The parts that feed a training run (``trustseg.data.augment``, ``trustseg.data.batches``) do, and are imported by name.

What many functions share: ``path`` is a manifest, or a folder in one of ``LAYOUTS``, and nothing is written there;
``declared`` is what the user says where the folders leave it open; ``size``, ``channels``, ``fit`` and ``mask_values``
are those of ``PackOptions``; ``progress`` is called with (images done, images in all). What does not exist raises a
``MissingFileError``; a file or dataset that cannot be used a ``DataError`` that names it and says why; a setting that
cannot be a ``ConfigError``; a format or download whose package is not installed a ``MissingPackageError``.
"""

from trustseg.data.cases import Case, Declared, Finding, Listing
from trustseg.data.check import CheckReport, check_dataset
from trustseg.data.layouts import LAYOUTS, fetch_qata, find_cases, usable_cases
from trustseg.data.manifest import write_manifest
from trustseg.data.pack import Pack
from trustseg.data.packing import open_dataset, write_pack
from trustseg.data.patients import patient_of
from trustseg.data.phantom import write_phantoms
from trustseg.data.splits import Splits, split_cases

__all__ = [
    "LAYOUTS",
    "Case",
    "CheckReport",
    "Declared",
    "Finding",
    "Listing",
    "Pack",
    "Splits",
    "check_dataset",
    "fetch_qata",
    "find_cases",
    "open_dataset",
    "patient_of",
    "split_cases",
    "usable_cases",
    "write_manifest",
    "write_pack",
    "write_phantoms",
]
