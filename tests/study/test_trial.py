"""How many workers side by side train most images: real processes, and rates made up."""

import sys
from pathlib import Path

import pytest
import torch

from trustseg.config import RunConfig, load_run
from trustseg.errors import RunError
from trustseg.study import trial
from trustseg.study.trial import images_a_second, trial_step, worker_environment

SMALL = ("data.size=32", "model.head=bernoulli", "model.depth=3", "training.batch_size=2", "training.accelerator=cpu")


@pytest.fixture
def config() -> RunConfig:
    return load_run(None, SMALL)


@pytest.mark.slow
def test_a_real_worker_trains_some_images(config: RunConfig) -> None:
    ((count, rate),) = images_a_second(config, counts=(1,), seconds=0.2).items()
    assert count == 1
    assert 0 < rate < 1e5


def test_the_rates_of_workers_side_by_side_add_up(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Stand-ins tell rates that are made up, and the fourth worker ends before it is ready."""
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\nread config; [ $OMP_NUM_THREADS -gt 1 ] || exit 1; echo ready; read go; echo 2.5\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(4))
    assert images_a_second(config, counts=(1, 2, 4)) == {1: 2.5, 2: 5.0}
    with pytest.raises(RunError, match="no worker could take a single step"):
        images_a_second(config, counts=(4,))


@pytest.mark.parametrize(
    ("rates", "tried"),
    [
        ({1: 10.0, 2: 15.0, 4: 22.0, 8: 23.2}, [1, 2, 4, 8]),
        ({1: 10.0, 2: 10.4, 4: 99.0}, [1, 2]),  # 4 % more is not worth a third try
        ({1: 10.0, 2: 15.0, 4: None}, [1, 2]),  # four do not fit into memory
    ],
)
def test_it_ends_where_more_brings_nothing(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, rates: dict[int, float | None], tried: list[int]
) -> None:
    monkeypatch.setattr(trial, "_rate", lambda config, count, seconds: rates[count])
    assert list(images_a_second(config)) == tried


def test_a_step_trains_the_batch(config: RunConfig) -> None:
    assert trial_step(config)() == 2


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(6))
    assert [worker_environment(jobs, 0)["OMP_NUM_THREADS"] for jobs in (1, 2, 4, 8)] == ["6", "3", "1", "1"]


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
    assert [worker_environment(5, number).get("CUDA_VISIBLE_DEVICES") for number in range(5)] == expected
