"""What names and files tell of patients."""

from pathlib import Path

import pytest

from trustseg.data import Case, patient_of
from trustseg.data.patients import is_lateral, with_patients_of_files


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx", "S09611"),
        *(("SUB-S1_ses-1", "S1"), ("sub-S1", "S1"), ("sub-S1_something else", "S1"), ("x_sub-S1_ses-1", None)),
        *(("covid_12", None), ("sub-", None), ("00001281_000", "00001281"), ("00030805_000", "00030805")),
        *(("00030806_000", None), ("00000000_001", None), ("1281_000", None)),  # ChestX-ray14 has 30,805 patients
        *((f"{date}_001", None) for date in ("20240115", "15012024", "01152024", "19991231")),  # in any order
    ],
)
def test_patient_of(name: str, patient: str | None) -> None:
    assert patient_of(name) == patient


def test_names_tell_a_lateral_view() -> None:
    assert is_lateral("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx")
    assert is_lateral("sub-S1_vp-ll")
    assert not any(map(is_lateral, ("sub-S1_vp-pa_cr", "covid_12", "vp-ll")))


@pytest.mark.parametrize(
    ("marks", "known", "expected"),
    [
        ("xx ", {}, [None, None, None]),  # one mark for all
        ("xxy", {"a": "P"}, ["P", "P", "c"]),
        ("xxxy", {"a": "P", "c": "Q"}, ["P", None, "Q", "d"]),  # the names know better
    ],
)
def test_files_tell_patients_apart(marks: str, known: dict[str, str], expected: list[str | None]) -> None:
    by_name = {name: mark.strip() for name, mark in zip("abcd", marks, strict=False)}
    cases = [Case(name, Path(name), (), known.get(name), "train") for name in by_name]
    assert [case.patient for case in with_patients_of_files(cases, by_name)] == expected
