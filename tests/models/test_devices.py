import pytest
import torch

from trustseg.models import device_of


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda", "cpu"])
def test_a_gpu_is_taken_where_there_is_one_and_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, has_gpu: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert device_of(accelerator) == ("cuda" if has_gpu and accelerator != "cpu" else "cpu")
