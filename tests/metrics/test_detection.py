"""Detection scores against pairs, thresholds one by one, scikit-learn, and their own streaming."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from trustseg.errors import ConfigError, ShapeError, UnknownNameError
from trustseg.metrics import (
    Detection,
    auroc,
    auroc_from_counts,
    average_precision,
    average_precision_from_counts,
    fpr_at_tpr,
    fpr_at_tpr_from_counts,
)
from trustseg.metrics.streaming import DetectionScore

ITEMS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=25)


def split(items: list[tuple[int, bool]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([float(score) for score, _ in items]), torch.tensor([label for _, label in items])


@settings(deadline=None, max_examples=60)
@given(ITEMS)
def test_auroc_counts_pairs(items: list[tuple[int, bool]]) -> None:
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, hit in items
        for low, other in items
        if hit and not other
    ]
    found = float(auroc(*split(items)))
    assert found == pytest.approx(np.mean(pairs)) if pairs else math.isnan(found)


@settings(deadline=None, max_examples=60)
@given(ITEMS, st.sampled_from([0.3, 0.5, 0.95, 1.0]))
def test_precision_and_rates_threshold_by_threshold(items: list[tuple[int, bool]], tpr: float) -> None:
    scores, positive = split(items)
    hits, misses = int(positive.sum()), int((~positive).sum())
    precision, before, rate = 0.0, 0, math.nan
    for threshold in sorted({score for score, _ in items}, reverse=True):
        taken = scores >= threshold
        found = int((taken & positive).sum())
        precision += (found - before) / max(hits, 1) * found / int(taken.sum())
        if math.isnan(rate) and hits and misses and found >= tpr * hits:
            rate = int((taken & ~positive).sum()) / misses
        before = found
    assert float(average_precision(scores, positive)) == pytest.approx(precision if hits else math.nan, nan_ok=True)
    assert float(fpr_at_tpr(scores, positive, tpr=tpr)) == pytest.approx(rate, nan_ok=True)


@pytest.mark.oracle
@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_with_and_without_ties(seed: int, decimals: int | None) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.random(400) < 0.2
    scores = rng.normal(size=400) + positive
    scores = scores if decimals is None else scores.round(decimals)
    tensors = torch.from_numpy(scores), torch.from_numpy(positive)
    assert float(auroc(*tensors)) == pytest.approx(sk.roc_auc_score(positive, scores), rel=1e-12)
    assert float(average_precision(*tensors)) == pytest.approx(sk.average_precision_score(positive, scores), rel=1e-12)
    false, true, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    assert float(fpr_at_tpr(*tensors)) == pytest.approx(false[true >= 0.95 - 1e-12].min(), rel=1e-12)


def test_undefined_is_nan() -> None:
    scores = torch.tensor([0.1, 0.2])
    for label, precision in ((0, math.nan), (1, 1.0)):
        labels = torch.full((2,), label)
        assert math.isnan(float(auroc(scores, labels)))
        assert math.isnan(float(fpr_at_tpr(scores, labels)))
        assert float(average_precision(scores, labels)) == pytest.approx(precision, nan_ok=True)
    for score in (auroc, average_precision, fpr_at_tpr):
        assert math.isnan(float(score(torch.zeros(0), torch.zeros(0))))
    metric = Detection(score="fpr_at_95_tpr")
    metric.update(torch.zeros(0), torch.zeros(0))
    assert math.isnan(float(metric.compute()))


def test_infinities_half_types_and_shapes() -> None:
    scores = torch.tensor([[-math.inf, 1.0], [2.0, math.inf]])
    positive = torch.tensor([[False, False], [True, True]])
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert float(auroc(scores.to(dtype), positive.float())) == 1.0
    metric = Detection()
    metric.update(scores, positive)
    assert float(metric.compute()) == 1.0


@pytest.mark.parametrize("score", ["auroc", "average_precision", "fpr_at_95_tpr"])
def test_streaming_equals_all_at_once(score: DetectionScore) -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(7, 1, 33, 20, generator=generator) < 0.1
    scores = ((torch.randn(positive.shape, generator=generator) + positive).sigmoid() * 128).round() / 128
    exact = {"auroc": auroc, "average_precision": average_precision, "fpr_at_95_tpr": fpr_at_tpr}[score]
    whole, parts = Detection(score=score), Detection(score=score)
    whole.update(scores, positive)
    for number in (3, 0, 6, 1, 5, 2, 4):
        parts.update(scores[number], positive[number].float())
    torch.testing.assert_close(whole.compute(), exact(scores, positive))
    assert torch.equal(parts.compute(), whole.compute())


def test_streaming_of_smooth_scores_is_close() -> None:
    generator = torch.Generator().manual_seed(1)
    positive = torch.rand(200_000, generator=generator) < 0.1
    scores = (torch.randn(200_000, generator=generator) + positive).sigmoid()
    metric = Detection()
    metric.update(scores, positive)
    assert float(metric.compute()) == pytest.approx(float(auroc(scores, positive)), abs=1e-6)


def test_bad_input_gets_its_sentence() -> None:
    with pytest.raises(ShapeError, match="expected equal shapes"):
        auroc(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ShapeError, match="holds NaN"):
        average_precision(torch.tensor([math.nan]), torch.zeros(1))
    for labels in ([2.0], [0.5], [math.inf]):
        with pytest.raises(ShapeError, match="other values than 0 and 1"):
            auroc(torch.zeros(1), torch.tensor(labels))
    for tpr in (0.0, 1.1, math.nan):
        with pytest.raises(ConfigError, match="tpr is"):
            fpr_at_tpr(torch.zeros(1), torch.zeros(1), tpr=tpr)
    for score in (auroc_from_counts, average_precision_from_counts, fpr_at_tpr_from_counts):
        with pytest.raises(ShapeError, match=r"counts and sums are \(4,\) and \(1,\)"):
            score(torch.ones(4), torch.ones(1))
    with pytest.raises(UnknownNameError, match="did you mean 'auroc'"):
        Detection(score="auroch")  # type: ignore[arg-type]  # the point of the test
