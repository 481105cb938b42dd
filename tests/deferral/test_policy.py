"""A policy decides, and says when its promise is void."""

import hashlib
import math
from dataclasses import replace

import polars as pl
import pytest
from tests.deferral.records import fit, records_of

from trustseg.deferral import HOLDS, VOID, Policy, apply_policy, check_model
from trustseg.errors import DataError

NAMES = [f"calibration{number}" for number in range(9)]


@pytest.fixture
def policy() -> Policy:
    return fit(records_of([0.1 * (number + 1) for number in range(9)], patients=NAMES), at_most=0.3)


def test_scores_above_the_threshold_and_missing_ones_are_reviewed(policy: Policy) -> None:
    assert policy.threshold == pytest.approx(0.7)
    scores = [0.0, policy.threshold, math.nextafter(policy.threshold, 1), math.inf, -math.inf, math.nan]
    assert policy.review(scores).tolist() == [False, False, True, True, False, True]
    records = records_of([0.1, 0.2]).with_columns(u_entropy_mean=pl.Series([0.1, None]))
    assert apply_policy(policy, records)["review"].to_list() == [False, True]


def test_the_guarantee_is_void_under_any_condition_but_clean_and_in_training(policy: Policy) -> None:
    table = pl.concat([records_of([0.1, 0.9]), records_of([0.1, 0.9], condition="fgsm", eps=0.1)])
    decided = apply_policy(policy, table)
    assert decided["review"].to_list() == [False, True] * 2
    assert decided["guarantee"].to_list() == [HOLDS] * 2 + [VOID] * 2
    assert decided.drop("review", "guarantee").equals(table)
    splits = pl.Series(["train", "test", "validation", None])
    decided = apply_policy(policy, records_of([0.1] * 4).with_columns(split=splits))
    assert decided["guarantee"].to_list() == [VOID, HOLDS, HOLDS, HOLDS]


@pytest.mark.parametrize("known", [NAMES[3:4], NAMES, NAMES[::-1]])
def test_the_guarantee_is_void_on_patients_it_was_fitted_on_alone(policy: Policy, known: list[str]) -> None:
    patients = ["new0", *known, "new1", *known]
    decided = apply_policy(policy, records_of([0.5] * len(patients), patients=patients))
    assert decided["guarantee"].to_list() == [VOID if name in known else HOLDS for name in patients]
    assert policy.patient_hashes == tuple(sorted(hashlib.sha256(name.encode()).hexdigest()[:12] for name in NAMES))


def test_images_outside_the_subgroup_of_a_policy_are_reviewed_without_a_promise(policy: Policy) -> None:
    own = replace(policy, group="site=1")
    records = records_of([0.1, 0.1, 0.1, 0.9]).with_columns(group_site=pl.Series([1, 2, None, 1]))
    decided = apply_policy(own, records)
    assert decided["review"].to_list() == [False, True, True, True]
    assert decided["guarantee"].to_list() == [HOLDS, VOID, VOID, HOLDS]
    with pytest.raises(DataError, match="no column 'site'"):
        apply_policy(own, records.drop("group_site"))
    with pytest.raises(DataError, match="no image has site=1"):
        apply_policy(own, records.filter(pl.col("group_site") == 2))


def test_scores_of_another_model_or_none_are_refused(policy: Policy) -> None:
    known = replace(policy, model="0123")
    for fitted, given in ((policy, "0123"), (known, ""), (known, "0123")):
        check_model(fitted, given)
    with pytest.raises(DataError, match=r"was fitted for model 0123, not for model 4567.* --uncalibrated"):
        check_model(known, "4567")
    with pytest.raises(DataError, match="no score entropy_mean; choose one of vacuity_max"):
        apply_policy(policy, records_of([0.1]).rename({"u_entropy_mean": "u_vacuity_max"}))
