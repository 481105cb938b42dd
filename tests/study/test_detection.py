"""Detection scores of counts against those of tensors."""

import numpy as np
import pytest
import torch

from trustseg.metrics.detection import auroc_from_counts, average_precision_from_counts, fpr_at_tpr_from_counts
from trustseg.study.detection import auroc, auroc_of_blocks, average_precision_of_blocks, fpr_at_tpr_of_blocks


def test_auroc_of_nothing_is_nan() -> None:
    assert np.isnan(auroc([], [1.0]))
    assert auroc([0.0], [0.0]) == 0.5


@pytest.mark.parametrize("seed", range(12))
def test_detection_scores_equal_those_on_tensors(seed: int) -> None:
    generator = np.random.default_rng(seed)
    negative, positive = generator.integers(0, 4, (2, 3, generator.integers(1, 30)))
    counts, hits = torch.from_numpy(negative + positive), torch.from_numpy(positive)
    for found, expected in (
        (auroc_of_blocks(negative, positive), auroc_from_counts(counts, hits)),
        (average_precision_of_blocks(negative, positive), average_precision_from_counts(counts, hits)),
        (fpr_at_tpr_of_blocks(negative, positive), fpr_at_tpr_from_counts(counts, hits)),
        (fpr_at_tpr_of_blocks(negative, positive, tpr=0.5), fpr_at_tpr_from_counts(counts, hits, tpr=0.5)),
    ):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    ("negative", "positive"), [([0, 0], [0, 0]), ([3, 1], [0, 0]), ([0, 0], [3, 1]), ([2], [2]), ([0, 5], [5, 0])]
)
def test_detection_at_the_edges_as_on_tensors(negative: list[int], positive: list[int]) -> None:
    counts, hits = torch.tensor(negative) + torch.tensor(positive), torch.tensor(positive)
    for score, expected in (
        (auroc_of_blocks, auroc_from_counts),
        (average_precision_of_blocks, average_precision_from_counts),
        (fpr_at_tpr_of_blocks, fpr_at_tpr_from_counts),
    ):
        assert float(score(negative, positive)) == pytest.approx(float(expected(counts, hits)), nan_ok=True)
