"""Policies of both kinds survive the disk; a file that is none, or promises too much, is refused by name."""

import hashlib
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.deferral.records import certify, fit, records_of

from trustseg.deferral import (
    HOLDS,
    VOID,
    CertifiedPolicy,
    Policy,
    apply_policy,
    load_any_policy,
    load_certified_policy,
    load_policy,
    save_policy,
)
from trustseg.deferral.policy_files import digest_of, sealed
from trustseg.errors import DataError, MissingFileError

NAMES = [f"calibration{number}" for number in range(9)]


@pytest.fixture
def plain() -> Policy:
    return fit(records_of([0.1 * (number + 1) for number in range(9)], patients=NAMES), at_most=0.3)


@pytest.fixture
def certified() -> CertifiedPolicy:
    return certify(records_of(range(40), [0.1] + [0.9] * 39, condition="noise"), model="0123")


@pytest.mark.parametrize("threshold", [0.1 + 0.2, math.inf, -math.inf])
def test_save_and_load_leave_every_bit(
    plain: Policy, certified: CertifiedPolicy, tmp_path: Path, threshold: float
) -> None:
    file = tmp_path / "new" / "policy.json"
    other = replace(certified, threshold=threshold)
    other = replace(other, kept=1 - float(other.review(other.reference_scores).mean()))
    for policy in (replace(plain, threshold=threshold), other):
        save_policy(policy, file)
        assert load_any_policy(file) == policy
        content = json.loads(file.read_text(), parse_constant=pytest.fail)  # JSON has no infinity
        assert content["statement"] == policy.statement
    with pytest.raises(DataError, match="certified policy"):  # it decides on noisy images only
        load_policy(file)


def test_a_certified_policy_says_what_it_promises(certified: CertifiedPolicy) -> None:
    for words in ("at most 0.1", "up to 0.25 in L2 norm", "64 x 64", " 1 of 255 grey", "40 patients", "deviation 0.5"):
        assert words in certified.statement


PLAIN: list[tuple[dict[str, object], str]] = [
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
    ({"model": 123}, "model 123"),
    ({"colour": "red"}, "missing or unknown: colour"),
    ({"threshold": 99.0}, "its digest is not that of its content"),
    ({"reference_scores": []}, "its digest is not that of its content"),
]
CERTIFIED: list[tuple[dict[str, object], str]] = [
    ({"radius": 0.3}, "level is 0.037"),
    ({"at_most": 0.01}, "at least 424 are needed"),
    ({"patients": 25}, "at least 26 are needed"),
    ({"draws": 0}, "out of range: draws 0"),
    ({"draws": 16}, "level is 0.037"),
    ({"noise": -1.0}, "out of range: noise -1"),
    ({"threshold": "0.5"}, "threshold '0.5'"),
    ({"size": True}, "size True"),
    ({"tau": 0.25}, "its statement says something else"),
    ({"kind": "certified deferral, version 2"}, "kind is 'certified deferral, version 2'"),
    ({"colour": "red"}, "missing or unknown: colour"),
    ({"threshold": 99.0}, "threshold 99 and 0 of images kept"),
    ({"threshold": -1.5}, "its digest is not that of its content"),
    ({"digest": None}, "its digest is not that of its content"),
]


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [*(("plain", *row) for row in PLAIN), *(("certified", *row) for row in CERTIFIED)],
)
def test_a_file_that_is_no_policy_or_promises_too_much(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, change: dict[str, object], words: str
) -> None:
    file = tmp_path / "policy.json"
    save_policy(request.getfixturevalue(kind), file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    load: Any = load_policy if kind == "plain" else load_certified_policy
    with pytest.raises(DataError, match=words) as caught:
        load(file)
    assert "policy.json" in str(caught.value)
    assert f"trustseg defer {'fit' if kind == 'plain' else 'certify'}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_or_half_a_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"policy\.json"):
        load_policy(tmp_path / "policy.json")
    (tmp_path / "policy.json").write_text('{"measure": "entr')
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_policy(tmp_path / "policy.json")


def test_a_policy_of_an_older_version_knows_its_patients_as_a_set(plain: Policy, tmp_path: Path) -> None:
    content = {name: value for name, value in asdict(plain).items() if name not in ("model", "patient_hashes")}
    content["patients_hash"] = hashlib.sha256("\n".join(NAMES).encode()).hexdigest()[:16]
    (tmp_path / "policy.json").write_text(json.dumps(content))
    old = load_policy(tmp_path / "policy.json")
    assert old.model == ""
    for given, promise in ((NAMES[::-1], VOID), (NAMES[:8], HOLDS)):
        decided = apply_policy(old, records_of([0.1] * len(given), patients=given))
        assert decided["guarantee"].unique().to_list() == [promise]
    save_policy(old, tmp_path / "again.json")
    assert load_policy(tmp_path / "again.json") == old


def test_the_digest_is_that_of_sorted_compact_json() -> None:
    content = {"threshold": 0.25, "model": "a"}  # printf '{"model":"a","threshold":0.25}' | sha256sum
    expected = "1accec2d7bd4aba6b6932105cc998c632b2fffbb9daf9c2264ebad1bb245dd46"
    assert digest_of(content) == digest_of(dict(reversed(content.items()))) == expected
    assert sealed(sealed(content)) == {**content, "digest": expected}
    assert digest_of(content | {"threshold": 0.2500001}) != expected
