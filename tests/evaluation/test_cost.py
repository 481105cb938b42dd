"""What a prediction costs: passes counted by the model, seconds by a clock that the test can turn."""

import time

import pytest
import torch
from tests.evaluation.packs import small_segmenter

from trustseg.evaluation.cost import cost_of
from trustseg.models import DeepEnsemble


def test_the_first_batch_is_not_counted_and_the_median_of_three_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 99.0, 100.0, 104.0, 200.0, 202.0, 300.0, 350.0])  # batches of 99, 4, 2 and 50 seconds
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    cost = cost_of(DeepEnsemble([small_segmenter().eval() for _ in range(3)]), torch.rand(8, 1, 32, 32))
    assert cost == {
        "passes": 3,
        "seconds_per_image": 4.0 / 8,
        "timed_batch_size": 8,
        "timed_on": "cpu",
        "timed_threads": torch.get_num_threads(),
    }
