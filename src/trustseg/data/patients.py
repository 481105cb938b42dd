"""Patient and view from the names of image files, in published naming schemes."""

import re
from typing import Final

__all__ = ["is_lateral", "patient_of"]

_SUBJECT: Final = re.compile(r"^sub-([A-Za-z0-9]+)(?:_|$)", re.IGNORECASE)  # BIDS, BIMCV, QaTa-COV19-v2
# ChestX-ray14 numbers its patients 1 to 30805 with eight digits. Eight digits that begin with 000 are no date in any
# order of day, month and year; longer numbers may be one, and then tell no patient.
_NIH_NAME: Final = re.compile(r"^(000\d{5})_\d{3}$")
_NIH_PATIENTS: Final = 30805
_VIEW: Final = re.compile(r"_vp-([a-z]+)(?:_|$)", re.IGNORECASE)


def patient_of(name: str) -> str | None:
    """Return the patient that an image name tells, None if it tells none.

    Args:
        name: file name without its extension; understood are ``sub-<patient>_...`` (BIDS, BIMCV, QaTa) and the names of
            ChestX-ray14 (``00001281_000``). ``covid_<n>`` names a pooled source, a date names a day: no patient.

    Example:
        >>> patient_of("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx"), patient_of("00001281_000")
        ('S09611', '00001281')
        >>> patient_of("covid_12") is None, patient_of("20240115_001") is None
        (True, True)
    """
    if match := _SUBJECT.match(name):
        return match[1]
    if (match := _NIH_NAME.match(name)) and 1 <= int(match[1]) <= _NIH_PATIENTS:
        return match[1]
    return None


def is_lateral(name: str) -> bool:
    """Return whether a BIDS name says that the view is lateral (``vp-ll``)."""
    match = _VIEW.search(name)
    return bool(match and match[1].lower() == "ll" and patient_of(name))
