"""Tests of exchangeability: exact expectations, enumeration over orders, and false alarms and power by simulation."""

import math
from itertools import pairwise, permutations, product

import numpy as np
import pytest
from tests.deferral.records import fit, records_of

from trustseg.deferral.exchangeability import (
    compared_scores,
    conformal_p_values,
    differs_by_now,
    exchangeability_of,
    log_martingale,
    one_per_patient,
)
from trustseg.errors import ConfigError, ShapeError


def test_the_capital_by_a_sum_over_all_gamblers_paths() -> None:
    p = np.random.default_rng(0).random(6)
    capital = 0.0
    for path in product((-1, 0, 1), repeat=6):  # which bet is made at each step, after the share-out
        chance = 1 / 3
        for before, after in pairwise(path):
            chance *= 0.99 * (before == after) + 0.01 / 3
        capital += chance * math.prod(1 + bet * (value - 0.5) for bet, value in zip(path, p, strict=True))
    assert float(log_martingale(p)[-1]) == pytest.approx(math.log(capital), rel=1e-9)


def test_nothing_is_won_on_average() -> None:
    """The capital is multilinear in the p-values, so that its mean over the midpoints of a grid is exact."""
    grid = (np.arange(6) + 0.5) / 6
    capitals = [np.exp(log_martingale(p)[-1]) for p in product(grid, repeat=4)]
    assert np.mean(capitals) == pytest.approx(1, abs=1e-12)


def test_conformal_p_values_are_uniform_over_all_orders() -> None:
    """Of four different values each rank of the last one is as frequent; the ranks of the last two are independent."""
    ranks = []
    for first, second, third, fourth in permutations((0.1, 0.2, 0.3, 0.4)):
        p = conformal_p_values([first, second], [third, fourth])
        ranks.append((math.floor(p[0] * 3), math.floor(p[1] * 4)))
    assert sorted(ranks) == sorted([(a, b) for a in range(3) for b in range(4)] * 2)


def test_ties_share_their_ranks_evenly() -> None:
    p = np.array([conformal_p_values([0.5] * 4, [0.5], seed=seed)[0] for seed in range(400)])
    assert p.min() < 0.02
    assert p.max() > 0.98
    assert p.mean() == pytest.approx(0.5, abs=0.05)


def test_false_alarms_stay_below_what_is_promised_and_shifts_are_found() -> None:
    rng = np.random.default_rng(1)
    alarms: dict[str, list[bool]] = {"alike": [], "tied": [], "moved": [], "spread": []}
    for number in range(200):
        reference = rng.normal(size=80)
        alike = rng.normal(size=60)
        alarms["alike"].append(exchangeability_of(reference, alike, alarm=0.1).differs)
        alarms["tied"].append(exchangeability_of(reference.round(), alike.round(), alarm=0.1).differs)
        if number >= 40:
            continue
        alarms["moved"].append(exchangeability_of(reference, alike + 1, alarm=0.1).differs)
        alarms["spread"].append(exchangeability_of(reference, 3 * alike, alarm=0.1).differs)
    share = {name: np.mean(found) for name, found in alarms.items()}
    error = 3 * math.sqrt(0.1 * 0.9 / 200)
    assert share["alike"] <= 0.1 + error
    assert share["tied"] <= 0.1 + error
    assert share["moved"] >= 0.95
    assert share["spread"] >= 0.95


def test_the_martingale_alone_keeps_the_inequality_of_ville_and_sees_a_change_on_the_way() -> None:
    rng, level = np.random.default_rng(2), math.log(20)
    quiet = [log_martingale(conformal_p_values([], rng.normal(size=120))).max() >= level for _ in range(200)]
    assert np.mean(quiet) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    changing = np.r_[rng.normal(size=100), rng.normal(1.5, 1, 100)]
    found = log_martingale(conformal_p_values(rng.normal(size=100), changing))
    assert found[:100].max() < level < found.max()


def test_scores_may_be_tested_again_as_each_arrives() -> None:
    rng = np.random.default_rng(3)
    quiet = []
    for _ in range(60):
        reference, arriving = tuple(rng.normal(size=60)), rng.normal(size=40)
        quiet.append(any(differs_by_now(reference, arriving[:number]) for number in range(10, 41)))
    assert np.mean(quiet) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)
    arriving = np.r_[rng.normal(3, 1, 30), math.nan, rng.normal(0, 1, 30)]
    assert differs_by_now(reference, arriving[:30])
    assert differs_by_now(reference, arriving)  # an alarm stays
    assert differs_by_now(reference, arriving[:9]) is None
    assert differs_by_now((), arriving) is None


def test_one_image_of_each_patient_and_no_more() -> None:
    table = records_of([0.1, 0.2, 0.3, math.nan], patients=["a", "b", "a", "c"])
    scores = one_per_patient(table, "u_entropy_mean")
    assert len(scores) == 2
    assert scores[0] in (0.1, 0.3)
    assert sorted(one_per_patient(table.reverse(), "u_entropy_mean")) == sorted(scores)  # whatever the order of rows
    policy = fit(table.head(3), at_most=0.4)
    assert policy.reference_scores == tuple(sorted(scores))
    assert compared_scores(policy.reference_scores, [math.nan]) is None
    assert compared_scores(policy.reference_scores, [0.1] * 9) is None
    found = compared_scores(policy.reference_scores, [0.1, math.nan, 0.2] * 5)
    assert found is not None
    assert (found.patients, found.reference, found.differs) == (10, 2, False)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="alarm is 1"):
        exchangeability_of([0.1], [0.2], alarm=1)
    for reference, scores in (([], [0.1]), ([0.1], []), ([0.1], [math.nan])):
        with pytest.raises(ShapeError, match="scores on both sides"):
            exchangeability_of(reference, scores)
