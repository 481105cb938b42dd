import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trustseg.errors import ShapeError
from trustseg.metrics.survival import survival_curve

NEVER = math.inf


def test_a_worked_case() -> None:
    # one broken already, two brackets that overlap, one censored
    curve = survival_curve(torch.tensor([0.0, 1.0, 2.0, 8.0]), torch.tensor([0.0, 4.0, 3.0, NEVER]))
    assert curve.eps.tolist() == [0, 1, 2, 3, 4, 8]
    assert curve.lower.tolist() == [0.75, 0.75, 0.5, 0.25, 0.25, 0.25]
    assert curve.upper.tolist() == [0.75, 0.75, 0.75, 0.5, 0.25, 0.25]
    assert (curve.median_lower.item(), curve.median_upper.item()) == (1, 3)
    assert (curve.images, curve.censored, curve.already_broken) == (4, 1, 1)


bracket = st.one_of(
    st.just((0.0, 0.0)),  # broken already
    st.tuples(st.integers(0, 6), st.sampled_from([1, 2, 4, NEVER])).map(lambda pair: (pair[0], sum(pair))),
)


@given(st.lists(bracket, min_size=1, max_size=9))
def test_each_curve_is_the_share_above_one_end_of_the_brackets(ends: list[tuple[float, float]]) -> None:
    holds, breaks = (torch.tensor(values, dtype=torch.float64) for values in zip(*ends, strict=True))
    grid = torch.arange(0, 15, dtype=torch.float64) / 2
    curve = survival_curve(holds, breaks, eps=grid)
    assert (curve.lower <= curve.upper).all()
    assert (curve.lower.diff() <= 0).all()
    assert (curve.upper.diff() <= 0).all()
    # the largest budget each image may truly need is its upper end, the smallest just above its lower end
    for truth, side in ((breaks, curve.upper), (torch.where(breaks > 0, holds + 1e-9, 0.0), curve.lower)):
        for eps, share in zip(grid.tolist(), side.tolist(), strict=True):
            assert share == pytest.approx(sum(value > eps for value in truth.tolist()) / len(ends))


@pytest.mark.parametrize(
    ("holds", "breaks", "lower", "upper"),
    [
        ([1.0], [2.0], 1.0, 2.0),
        ([1.0, 3.0], [2.0, 4.0], 1.0, 2.0),
        ([1.0, 3.0, 5.0], [2.0, 4.0, 6.0], 3.0, 4.0),
        ([8.0, 8.0, 1.0], [NEVER, NEVER, 2.0], 8.0, NEVER),
        ([8.0, 1.0], [NEVER, 2.0], 1.0, 2.0),
    ],
)
def test_the_median_is_where_the_curve_first_falls_to_one_half(
    holds: list[float], breaks: list[float], lower: float, upper: float
) -> None:
    curve = survival_curve(torch.tensor(holds), torch.tensor(breaks))
    assert (curve.median_lower.item(), curve.median_upper.item()) == (lower, upper)
    fallen = curve.eps[curve.upper <= 0.5]
    assert (fallen.min().item() if len(fallen) else NEVER) == upper


def test_no_images() -> None:
    curve = survival_curve(torch.zeros(0), torch.zeros(0))
    assert curve.eps.tolist() == [0]
    assert curve.lower.isnan().all()
    assert curve.upper.isnan().all()
    assert curve.median_lower.isnan()
    assert curve.median_upper.isnan()
    assert (curve.images, curve.censored, curve.already_broken) == (0, 0, 0)


@pytest.mark.parametrize(
    ("holds", "breaks", "eps", "words"),
    [
        ([0.0], [1.0, 2.0], None, r"eps_holds is \(1,\) and eps_breaks \(2,\)"),
        ([[0.0]], [[1.0]], None, r"the same \(B,\)"),
        ([-1.0], [1.0], None, "brackets must be"),
        ([2.0], [1.0], None, "brackets must be"),
        ([math.nan], [1.0], None, "brackets must be"),
        ([1.0], [math.nan], None, "brackets must be"),
        ([NEVER], [NEVER], None, "finite eps_holds"),
        ([1.0], [2.0], [2.0, 1.0], "sort the budgets"),
        ([1.0], [2.0], [-1.0], "at least 0"),
        ([1.0], [2.0], [math.nan], "at least 0"),
    ],
)
def test_refuses(holds: list[float], breaks: list[float], eps: list[float] | None, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        survival_curve(torch.tensor(holds), torch.tensor(breaks), eps=None if eps is None else torch.tensor(eps))
