"""What the names of files tell of patient and view."""

import pytest

from trustseg.data import patient_of
from trustseg.data.patients import is_lateral


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("covid_12", None),
        ("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx", "S09611"),
        ("sub-G0003_ses-01_bp-chest_vp-ap", "G0003"),
        ("SUB-S1_ses-1", "S1"),
        ("sub-S1", "S1"),
        ("sub-S1_something else", "S1"),
        ("00001281_000", "00001281"),
        ("00030805_000", "00030805"),
        ("00030806_000", None),  # ChestX-ray14 has 30,805 patients
        ("00000000_001", None),
        ("1281_000", None),
        ("20240115_001", None),  # a date in any order is no patient
        ("15012024_001", None),
        ("01152024_001", None),
        ("19991231_000", None),
        ("12345678_000", None),
        ("sub-", None),
        ("x_sub-S1_ses-1", None),
    ],
)
def test_patient_of(name: str, patient: str | None) -> None:
    assert patient_of(name) == patient


@pytest.mark.parametrize(
    ("name", "lateral"),
    [
        ("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx", True),
        ("sub-S1_vp-ll", True),
        ("sub-S1_vp-pa_cr", False),
        ("covid_12", False),
        ("vp-ll", False),
    ],
)
def test_names_tell_a_lateral_view(name: str, lateral: bool) -> None:
    assert is_lateral(name) == lateral
