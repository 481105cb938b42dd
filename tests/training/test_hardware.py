"""What the machine cannot give is told in a sentence, and what can be done without is done without."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.tiny import config, pack, same_weights, use_tiny_networks
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from trustseg.errors import ConfigError, RunError
from trustseg.models import build_segmenter
from trustseg.training import train
from trustseg.training.hardware import compile_network, out_of_memory_error, require_precision
from trustseg.training.module import SegmentationModule
from trustseg.training.run import initial_segmenter

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    ],
    ids=["gpu", "cudnn", "cpu"],
)
def test_a_step_that_does_not_fit_names_a_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def step(self: SegmentationModule, batch: object, batch_index: int) -> None:
        raise error

    monkeypatch.setattr(SegmentationModule, "training_step", step)
    with pytest.raises(RunError, match=r"of training\.batch_size=4; set training\.batch_size=2, .*accumulate=2"):
        train(config(), pack(), tmp_path)
    assert not (tmp_path / "model").exists()


def test_the_batch_size_that_is_named() -> None:
    words = str(out_of_memory_error(config("training.batch_size=7", "training.accumulate=3"), CUDA))
    assert words.startswith("out of memory on the GPU in a step of training.batch_size=7")
    assert "training.batch_size=3" in words
    assert "training.accumulate=6" in words
    words = str(out_of_memory_error(config("training.batch_size=1"), CPU))
    assert words.startswith("out of memory on the CPU in a step of one image of data.size=32")
    assert "batch_size" not in words


def test_bfloat16_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla P100")
    with pytest.raises(ConfigError, match=r"bf16-mixed needs.*Tesla P100 has none; set training\.precision=32-true"):
        require_precision("bf16-mixed", CUDA)
    require_precision("32-true", CUDA)
    require_precision("bf16-mixed", CPU)


def test_new_memory_is_not_filled_for_nothing_and_the_choice_is_left_as_found(tmp_path: Path) -> None:
    during: list[tuple[bool, bool]] = []

    def settings() -> tuple[bool, bool]:
        memory: Any = torch.utils.deterministic
        return torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory

    before = settings()
    train(config("training.epochs=1"), pack(), tmp_path, report=lambda done, total: during.append(settings()))
    assert during == [(True, False)]
    assert settings() == before


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_fastest_algorithms_are_looked_for_where_the_run_need_not_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", deterministic)
    during: list[bool] = []
    run = config("training.epochs=1", f"training.deterministic={str(deterministic).lower()}")
    train(run, pack(), tmp_path, report=lambda done, total: during.append(torch.backends.cudnn.benchmark))
    assert during == [not deterministic]
    assert torch.backends.cudnn.benchmark is deterministic


def test_the_first_weights_leave_every_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    one, other = initial_segmenter(config()), initial_segmenter(config())
    assert same_weights(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert seeded == []


def failing(plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(images: torch.Tensor) -> torch.Tensor:
        raise BackendCompilerFailed(plain, RuntimeError("no compiler\nwas found"), None)

    return call


def test_a_network_that_cannot_be_compiled_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = train(config(), pack(), tmp_path / "plain")
    monkeypatch.setattr(torch, "compile", failing)
    with caplog.at_level(logging.WARNING):
        other = train(config("training.compile=true"), pack(), tmp_path / "other")
    assert same_weights(plain, other)
    (record,) = caplog.records  # once, not at every step
    assert "could not be compiled" in record.getMessage()
    assert "\n" not in record.getMessage()


class Uncompiled(torch.autograd.Function):
    """A value whose gradient cannot be compiled."""

    @staticmethod
    def forward(context: Any, maps: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        return maps.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        raise BackendCompilerFailed(torch.compile, RuntimeError("no compiler\nwas found"), None)


def test_a_backward_pass_that_cannot_be_compiled_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiling(plain: Callable[..., Any]) -> Callable[..., Any]:
        return lambda images: Uncompiled.apply(plain(images))

    monkeypatch.setattr(torch, "compile", compiling)
    with pytest.raises(ConfigError, match=r"backward pass.*RuntimeError: no compiler\); set training\.compile=false"):
        train(config("training.compile=true"), pack(), tmp_path)


def test_a_compiled_network_keeps_names_hooks_and_beliefs() -> None:
    segmenter = build_segmenter(size=32).eval()
    names, images = list(segmenter.state_dict()), torch.rand(2, 1, 32, 32)
    expected = segmenter.belief(images).log_odds
    passes: list[int] = []
    segmenter.network.register_forward_hook(lambda network, inputs, output: passes.append(len(output)))
    with pytest.MonkeyPatch.context() as patch:
        compiling = torch.compile
        patch.setattr(torch, "compile", lambda plain: compiling(plain, backend="eager"))
        compile_network(segmenter)
        torch.testing.assert_close(segmenter.belief(images).log_odds, expected)
    assert list(segmenter.state_dict()) == names
    assert passes == [2]
    torch.compiler.reset()


def test_a_mistake_inside_the_network_is_not_taken_for_one_of_the_compiler() -> None:
    segmenter = build_segmenter(size=32)

    def broken(images: torch.Tensor) -> torch.Tensor:
        raise ValueError("Expected more than 1 value per channel when training")

    segmenter.network.forward = broken
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda plain: plain)
        compile_network(segmenter)
        with pytest.raises(ValueError, match="more than 1 value"):
            segmenter.belief(torch.rand(1, 1, 32, 32))


def plain_network(encoder: str, *, channels: int, outputs: int) -> nn.Module:
    """A network that treats every image by itself."""
    return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, outputs, 3, padding=1))


def test_two_batches_make_the_step_of_one_twice_as_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch, plain_network)
    common = ("training.augment=false", "adversarial.selection=none", "training.monitor=last")
    images = pack(train=10)  # eight to train on, two to validate on
    whole = train(config(*common, "training.batch_size=4"), images, tmp_path / "whole")
    halves = train(config(*common, "training.batch_size=2", "training.accumulate=2"), images, tmp_path / "halves")
    single = train(config(*common, "training.batch_size=2"), images, tmp_path / "single")
    for name, weight in whole.named_parameters():
        torch.testing.assert_close(halves.get_parameter(name), weight, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(single.get_parameter(name), weight, atol=1e-3)
