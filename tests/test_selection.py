import math
from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trustseg.errors import ConfigError, ShapeError
from trustseg.selection import SELECTIONS, Selection, above, attacked_count, proportional

rules = pytest.mark.parametrize("rule", SELECTIONS.values(), ids=SELECTIONS.keys())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@rules
@given(
    scores=st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0, math.inf]), max_size=12),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_contract(rule: Selection, scores: list[float], share: float, seed: int) -> None:
    if rule is SELECTIONS["proportional"]:
        scores = [abs(score) for score in scores]
    values = torch.tensor(scores)
    k = round(share * len(scores))
    before = torch.get_rng_state()
    chosen = rule(values, k, seeded(seed))
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == k
    assert torch.equal(chosen, rule(values, k, seeded(seed)))
    assert torch.equal(torch.get_rng_state(), before)
    left = [scores[i] for i in range(len(scores)) if i not in chosen.tolist()]
    taken = values[chosen].tolist()
    if left and taken and rule in (SELECTIONS["uncertain"], SELECTIONS["hard"]):
        assert min(taken) >= max(left)
    if left and taken and rule is SELECTIONS["certain"]:
        assert max(taken) <= min(left)


@rules
def test_equal_scores_are_drawn_evenly(rule: Selection) -> None:
    generator = seeded()
    counts = Counter(tuple(rule(torch.zeros(4), 2, generator).tolist()) for _ in range(1200))
    assert len(counts) == 6
    assert max(counts.values()) < 260  # 200 expected, standard deviation 13


@pytest.mark.parametrize("name", ["uncertain", "hard", "certain"])
def test_ties_are_broken_only_among_equals(name: str) -> None:
    scores = torch.tensor([1.0, 1.0, 3.0, 1.0]) * (-1 if name == "certain" else 1)
    chosen = [SELECTIONS[name](scores, 2, seeded(seed)).tolist() for seed in range(40)]
    assert all(2 in pair for pair in chosen)
    assert {i for pair in chosen for i in pair} == {0, 1, 2, 3}


@rules
def test_scores_on_a_device_are_not_read(rule: Selection) -> None:
    chosen = rule(torch.empty(5, device="meta"), 3, seeded())  # a meta tensor has no values: reading one raises
    assert chosen.shape == (3,)
    assert chosen.device == torch.device("meta")


@rules
def test_refuses_what_cannot_be_chosen(rule: Selection) -> None:
    for shape, k in (((3,), 4), ((3,), -1), ((3, 1), 1), ((), 0)):
        with pytest.raises(ShapeError, match="k in"):
            rule(torch.zeros(shape), k, seeded())
    scores = torch.tensor([0.0, math.nan, 1.0])
    if rule is SELECTIONS["random"]:  # which ignores them
        assert torch.equal(rule(scores, 1, seeded()), rule(-scores, 1, seeded()))
        return
    with pytest.raises(ShapeError, match="1 of 3 scores are NaN"):
        rule(scores, 1, seeded())


@pytest.mark.parametrize(
    ("batch_size", "fraction", "expected"),
    [(100, 0.07, 7), (6, 5 / 6, 5), (5, 0.5, 3), (1, 0.01, 1), (1, 1e-12, 1), (8, 0, 0), (8, 1, 8), (0, 0.5, 0)],
)
def test_attacked_count(batch_size: int, fraction: float, expected: int) -> None:
    assert attacked_count(batch_size, fraction) == expected


@given(batch_size=st.integers(0, 4096), percent=st.integers(0, 100))
def test_attacked_count_rounds_up_exactly(batch_size: int, percent: int) -> None:
    assert attacked_count(batch_size, percent / 100) == math.ceil(Fraction(percent, 100) * batch_size)


@pytest.mark.parametrize(("batch_size", "fraction"), [(8, -0.1), (8, 1.1), (8, math.nan), (-1, 0.5)])
def test_attacked_count_refuses(batch_size: int, fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
        attacked_count(batch_size, fraction)


def test_images_are_drawn_in_proportion_to_their_scores() -> None:
    generator, draws = seeded(), 4000
    scores = torch.tensor([1.0, 2.0, 5.0])
    first = Counter(int(proportional(scores, 1, generator)) for _ in range(draws))
    for image, share in enumerate((1 / 8, 2 / 8, 5 / 8)):
        assert first[image] == pytest.approx(draws * share, abs=4 * math.sqrt(draws * share * (1 - share)))
    pairs = Counter(tuple(proportional(scores, 2, generator).tolist()) for _ in range(draws))
    both = 1 / 8 * 2 / 7 + 2 / 8 * 1 / 6  # images 0 and 1: one first, then the other among those left
    assert pairs[0, 1] == pytest.approx(draws * both, abs=4 * math.sqrt(draws * both * (1 - both)))


def test_infinite_scores_are_certain_and_zeros_the_last_resort() -> None:
    scores = torch.tensor([0.0, 1e-30, math.inf, 0.0, math.inf])
    for seed in range(20):
        assert proportional(scores, 2, seeded(seed)).tolist() == [2, 4]
        assert proportional(scores, 3, seeded(seed)).tolist() == [1, 2, 4]
    assert {tuple(proportional(scores, 4, seeded(seed)).tolist()) for seed in range(20)} == {(0, 1, 2, 4), (1, 2, 3, 4)}
    with pytest.raises(ShapeError, match="got -1; choose a measure that is not negative"):
        proportional(torch.tensor([1.0, -1.0]), 1, seeded())


@pytest.mark.parametrize(
    ("threshold", "expected"), [(-1, [0, 1, 2, 3]), (0.1, [1, 2, 3]), (0.5, [1, 3]), (0.9, [3]), (math.inf, [])]
)
def test_all_above_a_threshold(threshold: float, expected: list[int]) -> None:
    found = above(torch.tensor([0.1, 0.9, 0.5, math.inf]), threshold)
    assert found.tolist() == expected
    assert found.dtype == torch.int64


def test_above_at_the_edges() -> None:
    assert above(torch.zeros(0), 0.5).tolist() == []
    with pytest.raises(ShapeError, match="1 of 2 scores are NaN"):
        above(torch.tensor([math.nan, 1.0]), 0.5)
    with pytest.raises(ShapeError, match=r"scores must be \(B,\)"):
        above(torch.zeros(2, 1), 0.5)
