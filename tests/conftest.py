"""What tests of several rooms ask for."""

from collections.abc import Iterator

import pytest
import torch

from tests.training.tiny import use_tiny_networks


@pytest.fixture
def small_and_tidy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small networks on one thread, and torch's settings as they were afterwards."""
    use_tiny_networks(monkeypatch)
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)
