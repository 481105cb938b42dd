"""AUSE and AURC as metrics: equal to sorting all pixels, whatever the batches, the order and the processes."""

import math
from pathlib import Path

import pytest
import torch
from tests.warm import start
from torch import distributed

from trustseg.errors import ShapeError, UnknownNameError
from trustseg.metrics import (
    AURC,
    AUSE,
    Detection,
    augrc,
    aurc,
    ause,
    nause,
    pixel_error,
)
from trustseg.metrics.tie_blocks import PixelError


def _pixels(images: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Uncertainty, probability and masks in steps so coarse that each value has a bin of its own."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(images, 1, 33, 20, generator=generator)
    masks = (torch.rand(logits.shape, generator=generator) < torch.sigmoid(logits / 2)).float()
    probability = (128 * torch.sigmoid(logits)).round() / 128
    return torch.minimum(probability, 1 - probability), probability, masks


@pytest.mark.parametrize("error", ["wrong", "brier"])
@pytest.mark.parametrize("size", [1, 4, 6])
def test_metrics_equal_sorting_every_pixel(error: PixelError, size: int) -> None:
    pixels = _pixels()
    errors = pixel_error(*pixels[1:], error=error)
    cases = (
        (AUSE(error=error), ause),
        (AUSE(error=error, normalized=True), nause),
        (AURC(error=error), aurc),
        (AURC(error=error, generalized=True), augrc),
    )
    for metric, exact in cases:
        for first in range(0, 6, size):
            metric.update(*(part[first : first + size] for part in pixels))
        assert float(metric.compute()) == pytest.approx(float(exact(pixels[0], errors)), rel=1e-9)


def test_order_and_batches_leave_every_bit() -> None:
    uncertainty, probability, masks = _pixels()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    one, many = AUSE(error="brier"), AUSE(error="brier")
    one.update(uncertainty, probability, masks)
    for i in order:
        many.update(uncertainty[i], probability[i], masks[i])
    assert torch.equal(one.compute(), many.compute())


@pytest.mark.slow
def test_ten_million_pixels_with_saturated_ties_to_a_millionth() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(10, 1, 1000, 1000, generator=generator)
    logits[:4] *= 20  # most of these round to exactly 0 or 1
    probability = torch.sigmoid(logits)
    masks = (torch.rand(logits.shape, generator=generator) < torch.sigmoid(logits / 3)).float()
    uncertainty = torch.minimum(probability, 1 - probability)
    assert int((uncertainty == 0).sum()) > 1_000_000
    metric = AUSE()
    for part in zip(uncertainty, probability, masks, strict=True):
        metric.update(*part)
    exact = ause(uncertainty, pixel_error(probability, masks))
    assert float(metric.compute()) == pytest.approx(float(exact), abs=1e-6)


def test_forward_reset_and_nothing_wrong() -> None:
    metric = AUSE()
    u, p, y = torch.tensor([0.1, 0.2]), torch.tensor([0.9, 0.2]), torch.tensor([1.0, 0.0])
    assert math.isnan(float(metric(u, p, y)))
    assert float(metric(u, p, 1 - y)) == 0.0
    assert float(metric.compute()) > 0.0
    metric.reset()
    assert int(metric.counts.sum()) == 0


def test_pixel_errors_by_hand() -> None:
    p, y = torch.tensor([0.0, 0.5, 0.75, 1.0]), torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert pixel_error(p, y).tolist() == [True, False, False, False]
    assert pixel_error(p, y, error="brier").tolist() == [1.0, 0.25, 0.0625, 0.0]
    assert pixel_error(p.half(), y.half(), error="brier").dtype == torch.float32
    assert pixel_error(p.double(), y, error="brier").dtype == torch.float64


def test_bad_input_gets_its_sentence() -> None:
    for make in (AUSE, AURC):
        with pytest.raises(UnknownNameError, match="did you mean 'brier'"):
            make(error="brer")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ShapeError, match="resize one"):
        AUSE().update(torch.zeros(2), torch.zeros(2), torch.zeros(3))
    with pytest.raises(ShapeError, match="uncertainty holds NaN"):
        AUSE().update(torch.tensor([math.nan]), torch.zeros(1), torch.zeros(1))


def _score_a_share(rank: int, store: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    pixels = _pixels()
    metrics = [AUSE(error="brier"), AURC()]
    detection = Detection()
    share = slice(0, 2) if rank == 0 else slice(2, 6)
    for metric in metrics:
        metric.update(*(part[share] for part in pixels))
    detection.update(pixels[0][share], pixel_error(*(part[share] for part in pixels[1:])))
    torch.save([metric.compute() for metric in (*metrics, detection)], f"{store}.{rank}")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    store = tmp_path / "store"
    workers = [start(_score_a_share, rank, str(store), log=tmp_path / f"{rank}.log") for rank in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    pixels = _pixels()
    metrics = [AUSE(error="brier"), AURC()]
    for metric in metrics:
        metric.update(*pixels)
    detection = Detection()
    detection.update(pixels[0], pixel_error(*pixels[1:]))
    expected = [metric.compute() for metric in (*metrics, detection)]
    for rank in range(2):
        assert torch.equal(torch.stack(torch.load(f"{store}.{rank}", weights_only=True)), torch.stack(expected))
