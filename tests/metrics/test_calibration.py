"""Calibration against loops, golden numbers and closed forms; regions and merging."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import band_by_loop, calibration_by_loop
from tests.vectors import load_vectors

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics import (
    CalibrationError,
    boundary_band,
    brier,
    calibration_counts,
    calibration_error_from_counts,
    expected_calibration_error,
)


def _row(values: object) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_golden_files() -> None:
    for case in load_vectors("selective")["calibration"]["cases"]:
        given, expected = (_row(case["p"]), _row(case["y"])), case["expect"]
        assert float(expected_calibration_error(*given, bins=case["bins"])) == pytest.approx(expected["ece"], rel=1e-12)
        assert float(brier(*given)) == pytest.approx(expected["brier"], rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.2, 1 / 3, 0.5, 0.7, 0.99, 1.0]), st.integers(0, 1)), min_size=1),
    st.integers(1, 12),
)
def test_loops(items: list[tuple[float, int]], bins: int) -> None:
    p, y = zip(*items, strict=True)
    found = float(expected_calibration_error(_row(p), _row(y), bins=bins))
    assert found == pytest.approx(calibration_by_loop(p, y, bins), abs=1e-12)


def test_probabilities_on_an_edge_belong_to_the_upper_bin() -> None:
    for dtype in (torch.float32, torch.float64):
        p = torch.tensor([[i / 10 for i in range(11)]], dtype=dtype)
        pixels = calibration_counts(p, torch.zeros_like(p), bins=10)[0, :, 0]
        assert pixels.tolist() == [1.0] * 9 + [2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_of_an_edge_are_told_apart(dtype: torch.dtype) -> None:
    for bins in range(1, 40):
        edges = (torch.arange(bins + 1, dtype=torch.float64) / bins).to(dtype)
        near = torch.cat([edges, *(torch.nextafter(edges, end.expand(bins + 1)) for end in edges[[0, -1]])])
        counts = calibration_counts(near[None], torch.zeros(1, len(near)), bins=bins)[0, :, 0]
        expected = torch.bincount(torch.bucketize(near, edges[1:-1], right=True), minlength=bins)
        assert counts.tolist() == expected.tolist()


def test_perfect_hopeless_and_nothing() -> None:
    masks = torch.tensor([[0.0, 1.0, 1.0]])
    assert float(expected_calibration_error(masks, masks, bins=3)) == 0.0
    assert float(expected_calibration_error(masks, 1 - masks, bins=3)) == 1.0
    assert math.isnan(float(expected_calibration_error(masks, masks, region=torch.zeros(1, 3, dtype=torch.bool))))


def test_counts_merge_and_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(4, 1, 9, 7, generator=generator)
    y = (torch.rand(p.shape, generator=generator) < p**2).float()
    counts = calibration_counts(p, y, bins=6)
    assert counts.shape == (4, 6, 3)
    assert counts[..., 0].sum(1).tolist() == [63.0] * 4
    for i in range(4):
        torch.testing.assert_close(calibration_counts(p[i : i + 1], y[i : i + 1], bins=6)[0], counts[i])
        own = expected_calibration_error(p[i : i + 1], y[i : i + 1], bins=6)
        torch.testing.assert_close(calibration_error_from_counts(counts)[i], own)
    metric = CalibrationError(bins=6)
    for part in ([2, 0], [3], [1]):
        metric.update(p[part], y[part])
    torch.testing.assert_close(metric.compute(), expected_calibration_error(p, y, bins=6))


def test_region_counts_only_its_pixels() -> None:
    generator = torch.Generator().manual_seed(1)
    p, y = torch.rand(2, 1, 8, 8, generator=generator), (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).float()
    region = torch.rand(p.shape, generator=generator) > 0.4
    expected = expected_calibration_error(p[region][None], y[region][None])
    torch.testing.assert_close(expected_calibration_error(p, y, region=region), expected)
    metric = CalibrationError()
    metric.update(p, y, region)
    torch.testing.assert_close(metric.compute(), expected)


def test_brier_is_one_number_an_image() -> None:
    p, y = torch.tensor([[1.0, 0.5], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert brier(p, y).tolist() == [0.125, 0.5]


def test_bad_input_gets_its_sentence() -> None:
    p = torch.tensor([[0.5]])
    for bad in (1.5, -0.1, math.nan):
        with pytest.raises(ShapeError, match="not logits"):
            expected_calibration_error(torch.tensor([[bad]]), p)
    # These shapes would broadcast to a number.
    for function in (expected_calibration_error, brier):
        with pytest.raises(ShapeError, match="resize one"):
            function(torch.full((4, 1, 8, 8), 0.5), torch.zeros(1, 1, 8, 8))
    with pytest.raises(ConfigError, match="expected at least 1"):
        CalibrationError(bins=0)
    with pytest.raises(ShapeError, match=r"torch\.bool"):
        calibration_counts(p, p, region=p)


@pytest.mark.parametrize("width", [0, 1, 2, 5])
def test_boundary_band_against_a_loop(width: int) -> None:
    masks = (torch.rand(3, 1, 7, 10, generator=torch.Generator().manual_seed(2)) > 0.9).float()
    masks[1] = 0.0
    masks[2] = 1.0
    masks[2, 0, 0, 0] = 0.0
    wanted = [[band_by_loop(mask[0].int().tolist(), width)] for mask in masks]
    assert boundary_band(masks, width=width).tolist() == wanted
    assert not bool(boundary_band(torch.ones(1, 1, 3, 3), width=width).any())


def test_a_band_of_negative_width_or_of_no_masks_is_refused() -> None:
    with pytest.raises(ConfigError, match="width is -1"):
        boundary_band(torch.zeros(1, 1, 2, 2), width=-1)
    with pytest.raises(ShapeError, match="missing dimension"):
        boundary_band(torch.zeros(2, 2))
