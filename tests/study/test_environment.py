"""What workers are given: threads that do not depend on how many there are, and GPUs in turn."""

import pytest
import torch

from trustseg.config import load_run
from trustseg.study.environment import with_threads, worker_environment


def test_a_cell_has_one_thread_unless_more_are_asked_for() -> None:
    assert with_threads(load_run(None)).training.threads == 1
    assert with_threads(load_run(None, ["training.threads=3"])).training.threads == 3
    environment = worker_environment(3, 0)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("allowed", "there", "expected"),
    [
        (None, 0, [None] * 5),
        (None, 1, [None] * 5),
        (None, 3, ["0", "1", "2", "0", "1"]),
        ("2", 3, ["2"] * 5),
        ("3,1", 4, ["3", "1", "3", "1", "3"]),
        ("", 3, [""] * 5),  # whoever sets it to nothing wants no GPU
        ("GPU-8f6a,GPU-17ce", 2, ["GPU-8f6a", "GPU-17ce", "GPU-8f6a", "GPU-17ce", "GPU-8f6a"]),
    ],
)
def test_workers_take_the_gpus_in_turn(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None, there: int, expected: list[str | None]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert [worker_environment(1, number).get("CUDA_VISIBLE_DEVICES") for number in range(5)] == expected
