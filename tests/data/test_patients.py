"""What names and files tell of patients."""

from dataclasses import replace
from pathlib import Path

import pytest

from trustseg.data import Case, patient_of
from trustseg.data.patients import is_lateral, with_marked_patients


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


def test_one_id_for_all_tells_nothing() -> None:
    cases = [Case(name, Path(name), (), None, "train") for name in "abc"]
    assert with_marked_patients(cases, ["x", "x", ""]) == tuple(cases)
    named = [replace(cases[0], patient="P"), *cases[1:]]
    assert [case.patient for case in with_marked_patients(named, ["x", "x", "y"])] == ["P", "P", "c"]
    two = [*named[:2], replace(cases[2], patient="Q"), cases[0]]
    found = with_marked_patients(two, ["x", "x", "x", "y"])
    assert [case.patient for case in found] == ["P", None, "Q", "a"]
