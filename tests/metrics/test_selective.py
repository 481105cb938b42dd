"""Exact ranking scores against enumeration of every tie order, closed forms and independent libraries."""

import math

import numpy as np
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
    ause,
    error_of_kept,
    nause,
    rank_scores,
    risk_coverage_curve,
    scores_from_counts,
    sparsification_curve,
    sparsification_from_counts,
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


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=12))
def test_the_curve_is_the_mean_over_every_tie_order(items: list[tuple[int, float]]) -> None:
    means = {key: np.mean([error for other, error in items if other == key]) for key, _ in items}
    expected = np.cumsum([means[key] for key, _ in sorted(items)]) / np.arange(1, len(items) + 1)
    uncertainty, error = zip(*items, strict=True)
    curve = risk_coverage_curve(torch.tensor(uncertainty), _double(error))
    assert curve.risk.tolist() == pytest.approx(expected.tolist())


def test_between_two_items_the_error_grows_linearly() -> None:
    counts, sums, kept = _double([2, 0, 3, 1]), _double([0.5, 0, 1.5, 1]), _double([0.5, 1.5, 2.0, 3.25, 5.5, 6.0])
    assert error_of_kept(counts, sums, kept).tolist() == pytest.approx([0.125, 0.375, 0.5, 1.125, 2.5, 3.0])


@pytest.mark.parametrize("points", [1, 2, 7, 104, 105, 10_000])
def test_fewer_points_lie_on_the_curve(points: int) -> None:
    generator = torch.Generator().manual_seed(5)
    uncertainty, error = torch.rand(105, generator=generator), torch.rand(105, generator=generator)
    full, some = risk_coverage_curve(uncertainty, error), risk_coverage_curve(uncertainty, error, points=points)
    assert some.coverage.numel() == min(points, 105)
    assert some.coverage[-1] == 1
    assert bool((some.coverage.diff() > 0).all())
    steps = (some.coverage * 105).diff(prepend=torch.zeros(1))
    assert float((steps - 105 / len(steps)).abs().max()) < 1  # evenly
    assert bool((some.coverage >= torch.arange(1, len(steps) + 1) / len(steps) - 1e-6).all())  # at least its share
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
    assert float(rank_scores(error, error).e_aurc) == 0.0


def test_half_types_infinities_and_signed_zero() -> None:
    uncertainty, error = torch.tensor([0.5, 0.25, 1.0, 0.25]), torch.tensor([0.5, 0.0, 1.0, 1.0])
    wanted = aurc(uncertainty, error)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert aurc(uncertainty.to(dtype), error.to(dtype)) == wanted
    assert aurc(torch.tensor([-torch.inf, torch.inf]), torch.tensor([0, 1])) == 0.25
    assert aurc(torch.tensor([-0.0, 0.0]), torch.tensor([0, 1])) == 0.5
    assert not aurc(uncertainty.requires_grad_(), error).requires_grad
    assert aurc(torch.tensor([2**24, 2**24 + 1]), torch.tensor([0, 1])) == 0.25  # whole numbers stay


@pytest.mark.parametrize(
    ("uncertainty", "error", "words"),
    [
        ([0.1, math.nan], [0.0, 1.0], "uncertainty holds NaN"),
        ([0.1, 0.2], [0.0, math.nan], "error holds NaN"),
        ([0.1, 0.2], [0.0, math.inf], "error holds NaN"),
        ([0.1, 0.2], [0.0, -1.0], "error holds NaN"),
        ([0.1, 0.2], [0.0], "resize one to the other"),
    ],
)
def test_bad_input_gets_its_sentence(uncertainty: list[float], error: list[float], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        rank_scores(torch.tensor(uncertainty), torch.tensor(error))


def test_many_items_stay_exact() -> None:
    # A million distinct scores: the block formula against a plain cumulative mean in float64.
    generator = torch.Generator().manual_seed(6)
    error = (torch.rand(1_000_000, generator=generator) < 0.03).double()
    uncertainty = torch.arange(1_000_000)
    kept = torch.arange(1, 1_000_001, dtype=torch.float64)
    torch.testing.assert_close(aurc(uncertainty, error), (error.cumsum(0) / kept).mean(), rtol=1e-11, atol=0)
    scores = scores_from_counts(torch.ones(1_000_000), error)
    torch.testing.assert_close(scores.aurc, aurc(uncertainty, error), rtol=1e-12, atol=0)


# --- sparsification ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ranking() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    error = torch.rand(500, generator=generator).square()
    return torch.randint(0, 40, (500,), generator=generator) + 20 * error, error


def test_ause_is_the_mean_gap_between_the_curves(ranking: tuple[torch.Tensor, torch.Tensor]) -> None:
    curve = sparsification_curve(*ranking)
    torch.testing.assert_close((curve.model - curve.oracle).mean(), ause(*ranking))
    torch.testing.assert_close((1 - curve.oracle).mean(), rank_scores(*ranking).ause_random)
    torch.testing.assert_close(ause(*ranking) / (1 - curve.oracle).mean(), nause(*ranking))
    assert curve.removed[0] == 0
    assert bool((curve.removed.diff() > 0).all())
    torch.testing.assert_close(torch.stack([curve.model[0], curve.oracle[0]]), torch.ones(2, dtype=torch.float64))
    assert bool((curve.oracle <= curve.model + 1e-12).all())


def test_no_errors_at_all_is_undefined() -> None:
    curve = sparsification_curve(torch.rand(4), torch.zeros(4))
    assert bool(torch.stack([curve.model, curve.oracle]).isnan().all())
    assert math.isnan(float(ause(torch.rand(4), torch.zeros(4))))


def test_fewer_points(ranking: tuple[torch.Tensor, torch.Tensor]) -> None:
    full, some = sparsification_curve(*ranking), sparsification_curve(*ranking, points=10)
    index = (some.removed * 500).round().long()
    assert len(index) == 10
    torch.testing.assert_close(some.model, full.model[index])
    torch.testing.assert_close(some.oracle, full.oracle[index])
    for curve in (sparsification_curve, risk_coverage_curve):
        with pytest.raises(ConfigError, match="points is 0"):
            curve(*ranking, points=0)


def test_a_small_histogram_by_hand() -> None:
    """Four sure pixels without an error, then four of which three are wrong: 3 of 8 at the start."""
    curve = sparsification_from_counts(np.array([4, 4]), np.array([0, 3]), np.array([0, 0.25, 0.5]))
    # a quarter removed: 6 kept, of the second bin 2 with 1.5 errors; the oracle removes 2 of 3
    assert curve.model.tolist() == pytest.approx([1, (1.5 / 6) / (3 / 8), 0])
    assert curve.oracle.tolist() == pytest.approx([1, (1 / 6) / (3 / 8), 0])
    nothing = sparsification_from_counts(np.array([4, 4]), np.array([0, 0]), np.array([0, 0.5]))
    assert np.isnan([nothing.model, nothing.oracle]).all()
