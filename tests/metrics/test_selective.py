"""Exact ranking scores against enumeration of every tie order, closed forms and independent libraries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import ranking_by_enumeration
from tests.vectors import load_vectors

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics import (
    augrc,
    aurc,
    e_aurc,
    rank_scores,
    risk_coverage_curve,
    scores_from_counts,
)

SCORES = ("mean_error", "aurc", "aurc_optimal", "e_aurc", "augrc", "augrc_optimal", "ause", "ause_random", "nause")


def _double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_golden_files() -> None:
    kinds = load_vectors("selective")
    for case in kinds["ranking"]["cases"]:
        scores = rank_scores(_double(case["uncertainty"]), _double(case["error"]))
        for name in SCORES:
            wanted = case["expect"][name]
            assert float(getattr(scores, name)) == pytest.approx(
                math.nan if wanted is None else wanted, rel=1e-12, abs=1e-14, nan_ok=True
            )
    for case in kinds["random_ranking"]["cases"]:
        count, wrong = case["n"], case["wrong"]
        scores = rank_scores(torch.zeros(count), torch.arange(count) < wrong)
        assert float(scores.ause_random) == pytest.approx(case["expect"]["exact"], rel=1e-9)
        assert float(scores.ause) == pytest.approx(case["expect"]["exact"], rel=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=6))
def test_enumeration_of_every_tie_order(items: list[tuple[int, float]]) -> None:
    uncertainty, error = zip(*items, strict=True)
    scores = rank_scores(torch.tensor(uncertainty), _double(error))
    for name, wanted in ranking_by_enumeration(uncertainty, error).items():
        assert float(getattr(scores, name)) == pytest.approx(wanted, rel=1e-11, abs=1e-13, nan_ok=True), name


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 200))
def test_order_of_items_and_scale_of_uncertainty_do_not_matter(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    uncertainty = torch.randint(0, 20, (count,), generator=generator).double()
    error = torch.rand(count, generator=generator, dtype=torch.float64)
    shuffle = torch.randperm(count, generator=generator)
    before, after = rank_scores(uncertainty, error), rank_scores(uncertainty[shuffle].exp(), error[shuffle])
    for name in SCORES:
        torch.testing.assert_close(getattr(before, name), getattr(after, name), equal_nan=True)


@pytest.mark.parametrize(("count", "wrong"), [(7, 0), (7, 7), (7, 1), (1000, 154), (20, 1)])
def test_closed_forms_for_errors_of_0_and_1(count: int, wrong: int) -> None:
    def harmonic(n: int) -> float:
        return sum(1 / k for k in range(1, n + 1))

    scores = rank_scores(torch.zeros(count), torch.arange(count) < wrong)
    right, rate = count - wrong, wrong / count
    assert float(scores.aurc_optimal) == pytest.approx((wrong - right * (harmonic(count) - harmonic(right))) / count)
    assert float(scores.augrc_optimal) == pytest.approx(wrong * (wrong + 1) / (2 * count**2))
    assert float(scores.augrc) == pytest.approx(rate * (count + 1) / (2 * count))
    if 0 < wrong < count:
        random = (1 - rate) / rate * (harmonic(count) - harmonic(right))
        assert float(scores.ause) == pytest.approx(random)
        assert float(scores.ause_random) == pytest.approx(random)
        assert float(scores.nause) == pytest.approx(1.0)


@pytest.mark.oracle
def test_augrc_identity_with_auroc() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(3)
    uncertainty = torch.randint(0, 50, (5000,), generator=generator)
    error = torch.rand(5000, generator=generator) < uncertainty / 100
    auroc, rate = metrics.roc_auc_score(error.numpy(), uncertainty.numpy()), float(error.double().mean())
    expected = rate * (1 - rate) * (1 - auroc) + rate**2 / 2 + rate / (2 * 5000)
    assert float(augrc(uncertainty, error)) == pytest.approx(expected, rel=1e-12)


def test_curve_averages_to_the_areas() -> None:
    generator = torch.Generator().manual_seed(4)
    uncertainty, error = (
        torch.randint(0, 9, (3, 1, 5, 7), generator=generator),
        torch.rand(3, 1, 5, 7, generator=generator),
    )
    curve = risk_coverage_curve(uncertainty, error)
    torch.testing.assert_close(curve.risk.mean(), aurc(uncertainty, error))
    torch.testing.assert_close((curve.risk * curve.coverage).mean(), augrc(uncertainty, error))
    assert curve.coverage[-1] == 1
    torch.testing.assert_close(curve.risk[-1], error.double().mean())


@pytest.mark.parametrize("points", [1, 2, 7, 104, 105, 10_000])
def test_fewer_points_lie_on_the_curve(points: int) -> None:
    generator = torch.Generator().manual_seed(5)
    uncertainty, error = torch.rand(105, generator=generator), torch.rand(105, generator=generator)
    full, some = risk_coverage_curve(uncertainty, error), risk_coverage_curve(uncertainty, error, points=points)
    assert some.coverage.numel() == min(points, 105)
    assert some.coverage[-1] == 1
    assert bool((some.coverage.diff() > 0).all())
    index = (some.coverage * 105).round().long() - 1
    torch.testing.assert_close(some.risk, full.risk[index])


def test_undefined_is_nan_and_perfect_is_zero() -> None:
    nothing, item = torch.zeros(0), torch.ones(1)
    assert all(math.isnan(float(getattr(rank_scores(nothing, nothing), name))) for name in SCORES)
    assert risk_coverage_curve(nothing, nothing).risk.shape == (0,)
    assert float(rank_scores(item, item).ause) == 0.0
    assert math.isnan(float(rank_scores(item, item).nause))
    equal = rank_scores(torch.rand(9), torch.full((9,), 0.3))
    assert (float(equal.e_aurc), float(equal.ause), math.isnan(float(equal.nause))) == (0.0, 0.0, True)
    error = torch.rand(50)
    assert float(e_aurc(error, error)) == 0.0


def test_half_types_infinities_and_signed_zero() -> None:
    uncertainty, error = torch.tensor([0.5, 0.25, 1.0, 0.25]), torch.tensor([0.5, 0.0, 1.0, 1.0])
    wanted = aurc(uncertainty, error)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert aurc(uncertainty.to(dtype), error.to(dtype)) == wanted
    assert aurc(torch.tensor([-torch.inf, torch.inf]), torch.tensor([0, 1])) == 0.25
    assert aurc(torch.tensor([-0.0, 0.0]), torch.tensor([0, 1])) == 0.5
    assert not aurc(uncertainty.requires_grad_(), error).requires_grad


@pytest.mark.parametrize(
    ("uncertainty", "error", "words"),
    [
        ([0.1, math.nan], [0.0, 1.0], "uncertainty holds NaN"),
        ([0.1, 0.2], [0.0, math.nan], "error holds NaN"),
        ([0.1, 0.2], [0.0, math.inf], "error holds NaN"),
        ([0.1, 0.2], [0.0, -1.0], "error holds NaN"),
        ([0.1, 0.2], [0.0], "expected equal shapes"),
    ],
)
def test_bad_input_gets_its_sentence(uncertainty: list[float], error: list[float], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        rank_scores(torch.tensor(uncertainty), torch.tensor(error))


def test_bad_options_get_their_sentence() -> None:
    ones = torch.ones(3)
    with pytest.raises(ConfigError, match="points is 0"):
        risk_coverage_curve(ones, ones, points=0)


def test_many_items_stay_exact() -> None:
    # A million distinct scores: the block formula against a plain cumulative mean in float64.
    generator = torch.Generator().manual_seed(6)
    error = (torch.rand(1_000_000, generator=generator) < 0.03).double()
    uncertainty = torch.arange(1_000_000)
    kept = torch.arange(1, 1_000_001, dtype=torch.float64)
    torch.testing.assert_close(aurc(uncertainty, error), (error.cumsum(0) / kept).mean(), rtol=1e-11, atol=0)
    scores = scores_from_counts(torch.ones(1_000_000), error)
    torch.testing.assert_close(scores.aurc, aurc(uncertainty, error), rtol=1e-12, atol=0)
