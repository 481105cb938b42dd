"""A policy decides, says when its promise is void, and survives the disk."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import polars as pl
import pytest
from tests.deferral.records import records_of

from trustseg.deferral import (
    HOLDS,
    VOID,
    Policy,
    apply_policy,
    check_model,
    fit_policy,
    load_policy,
    save_policy,
)
from trustseg.errors import DataError, MissingFileError


@pytest.fixture
def policy() -> Policy:
    records = records_of([0.1 * (number + 1) for number in range(9)], patients=[f"calibration{i}" for i in range(9)])
    return fit_policy(records, measure="entropy", aggregation="mean", at_most=0.3)


def test_scores_above_the_threshold_are_reviewed(policy: Policy) -> None:
    assert policy.threshold == pytest.approx(0.7)
    scores = [0.0, policy.threshold, math.nextafter(policy.threshold, 1), math.inf, -math.inf, math.nan]
    assert policy.review(scores).tolist() == [False, False, True, True, False, True]


def test_an_image_without_a_score_is_reviewed(policy: Policy) -> None:
    records = records_of([0.1, 0.2]).with_columns(u_entropy_mean=pl.Series([0.1, None]))
    assert apply_policy(policy, records)["review"].to_list() == [False, True]


def test_the_guarantee_is_void_under_any_condition_but_clean(policy: Policy) -> None:
    clean, attacked = records_of([0.1, 0.9]), records_of([0.1, 0.9], condition="fgsm", eps=0.1)
    decided = apply_policy(policy, pl.concat([clean, attacked]))
    assert decided["review"].to_list() == [False, True] * 2
    assert decided["guarantee"].to_list() == [HOLDS] * 2 + [VOID] * 2
    assert decided.drop("review", "guarantee").equals(pl.concat([clean, attacked]))


def test_the_guarantee_is_void_on_the_patients_it_was_fitted_on(policy: Policy) -> None:
    again = records_of([0.5] * 9, patients=[f"calibration{i}" for i in reversed(range(9))])
    assert apply_policy(policy, again)["guarantee"].unique().to_list() == [VOID]


@pytest.mark.parametrize("known", [["calibration3"], [f"calibration{number}" for number in range(9)]])
def test_new_patients_beside_those_it_was_fitted_on_keep_the_promise(policy: Policy, known: list[str]) -> None:
    patients = ["new0", *known, "new1", *known]
    decided = apply_policy(policy, records_of([0.5] * len(patients), patients=patients))
    assert decided["guarantee"].to_list() == [VOID if name in known else HOLDS for name in patients]


def test_the_guarantee_is_void_on_the_train_split(policy: Policy) -> None:
    splits = ["train", "test", "validation", None]
    decided = apply_policy(policy, records_of([0.1] * 4).with_columns(split=pl.Series(splits)))
    assert decided["guarantee"].to_list() == [VOID, HOLDS, HOLDS, HOLDS]


def test_images_outside_the_subgroup_of_a_policy_are_reviewed_without_a_promise(policy: Policy, tmp_path: Path) -> None:
    save_policy(dataclasses.replace(policy, group="site=1"), tmp_path / "policy.json")
    own = load_policy(tmp_path / "policy.json")
    records = records_of([0.1, 0.1, 0.1, 0.9]).with_columns(group_site=pl.Series([1, 2, None, 1]))
    decided = apply_policy(own, records)
    assert decided["review"].to_list() == [False, True, True, True]
    assert decided["guarantee"].to_list() == [HOLDS, VOID, VOID, HOLDS]
    with pytest.raises(DataError, match="no column 'site'"):
        apply_policy(own, records.drop("group_site"))
    with pytest.raises(DataError, match="no image has site=1"):
        apply_policy(own, records.filter(pl.col("group_site") == 2))


def test_the_hash_of_a_patient_is_short_and_of_no_order(policy: Policy) -> None:
    names = [hashlib.sha256(f"calibration{number}".encode()).hexdigest()[:12] for number in range(9)]
    assert policy.patient_hashes == tuple(sorted(names))


def test_a_policy_of_an_older_version_knows_its_patients_as_a_set(policy: Policy, tmp_path: Path) -> None:
    content = {name: value for name, value in dataclasses.asdict(policy).items() if name != "model"}
    del content["patient_hashes"]
    patients = [f"calibration{number}" for number in range(9)]
    content["patients_hash"] = hashlib.sha256("\n".join(patients).encode()).hexdigest()[:16]
    (tmp_path / "policy.json").write_text(json.dumps(content))
    old = load_policy(tmp_path / "policy.json")
    assert old.model == ""
    for given, promise in ((patients[::-1], VOID), (patients[:8], HOLDS)):
        decided = apply_policy(old, records_of([0.1] * len(given), patients=given))
        assert decided["guarantee"].unique().to_list() == [promise]
    save_policy(old, tmp_path / "again.json")
    assert load_policy(tmp_path / "again.json") == old


def test_scores_of_another_model_are_refused(policy: Policy) -> None:
    known = dataclasses.replace(policy, model="0123")
    for fitted, given in ((policy, "0123"), (known, ""), (known, "0123")):
        check_model(fitted, given)
    with pytest.raises(DataError, match=r"was fitted for model 0123, not for model 4567.* --uncalibrated"):
        check_model(known, "4567")


@pytest.mark.parametrize("threshold", [0.1 + 0.2, math.inf, -math.inf])
def test_save_and_load_leave_every_bit(policy: Policy, tmp_path: Path, threshold: float) -> None:
    frozen = dataclasses.replace(policy, threshold=threshold)
    save_policy(frozen, tmp_path / "new" / "policy.json")
    assert load_policy(tmp_path / "new" / "policy.json") == frozen
    json.loads((tmp_path / "new" / "policy.json").read_text(), parse_constant=pytest.fail)  # JSON has no infinity


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": "high"}, "threshold 'high', input should be a valid number"),
        ({"threshold": "nan"}, "threshold 'nan', input should be a valid number"),
        ({"threshold": math.nan}, "out of range: threshold nan"),
        ({"threshold": None}, "threshold None"),
        ({"threshold": True}, "threshold True"),
        ({"target": "dice"}, "target 'dice', input should be 'review_rate', 'risk' or 'missed_lesions'"),
        ({"at_most": 7}, "out of range: at_most 7"),
        ({"tau": -1, "delta": 0}, "out of range: tau -1, delta 0"),
        ({"images": 1.5}, "images 1.5, input should be a valid integer"),
        ({"images": 0, "patients": 0}, "out of range: images 0, patients 0"),
        ({"patients": 10}, "out of range: patients 10"),
        ({"patient_hashes": "0123"}, "patient_hashes '0123'"),
        ({"patient_hashes": [1]}, "patient_hashes 1, input should be a valid string"),
        ({"statement": None}, "statement None, input should be a valid string"),
        ({"model": 123}, "model 123"),
        ({"colour": "red"}, "missing or unknown: colour"),
        ({"threshold": 99.0}, "its digest is not that of its content"),
        ({"reference_scores": []}, "its digest is not that of its content"),
    ],
)
def test_a_file_that_is_no_policy(policy: Policy, tmp_path: Path, change: dict[str, object], words: str) -> None:
    file = tmp_path / "policy.json"
    save_policy(policy, file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=words) as caught:
        load_policy(file)
    assert "policy.json" in str(caught.value)
    assert "trustseg defer fit" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_or_half_a_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"policy\.json"):
        load_policy(tmp_path / "policy.json")
    (tmp_path / "policy.json").write_text('{"measure": "entr')
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_policy(tmp_path / "policy.json")


def test_records_without_the_score_name_those_there_are(policy: Policy) -> None:
    with pytest.raises(DataError, match="no score entropy_mean; choose one of vacuity_max"):
        apply_policy(policy, records_of([0.1]).rename({"u_entropy_mean": "u_vacuity_max"}))
