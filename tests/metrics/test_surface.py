import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics import hausdorff_95, lesion_f1, surface_dice


def boundary(mask: Tensor) -> list[tuple[int, int]]:
    """Foreground pixels with a background pixel or the image's edge among their four neighbours."""
    height, width = mask.shape
    inside = {(y, x) for y in range(height) for x in range(width) if mask[y, x]}
    return [(y, x) for y, x in inside if not {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} <= inside]


def distances(first: Tensor, second: Tensor, spacing: tuple[float, float]) -> list[float]:
    return [
        min((math.hypot((a - c) * spacing[0], (b - d) * spacing[1]) for c, d in boundary(second)), default=math.inf)
        for a, b in boundary(first)
    ]


def assert_equals_brute_force(prediction: Tensor, masks: Tensor, spacing: tuple[float, float]) -> None:
    found_hd = hausdorff_95(prediction, masks, spacing=spacing)
    found_sd = surface_dice(prediction, masks, tolerance=1.2, spacing=spacing)
    for row in range(len(masks)):
        forth = distances(prediction[row, 0], masks[row, 0], spacing)
        back = distances(masks[row, 0], prediction[row, 0], spacing)
        hd = max(np.percentile(forth, 95), np.percentile(back, 95)) if forth and back else math.nan
        assert found_hd[row].item() == pytest.approx(hd, abs=1e-5, nan_ok=True)
        sd = np.mean(np.array([*forth, *back]) <= 1.2) if forth or back else math.nan
        assert found_sd[row].item() == pytest.approx(sd, abs=1e-6, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7), st.sampled_from([(1.0, 1.0), (0.5, 2.0)]))
def test_both_are_what_brute_force_gives(seed: int, height: int, width: int, spacing: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, masks = ((torch.rand((2, 1, height, width), generator=generator) > 0.6) for _ in range(2))
    assert_equals_brute_force(prediction, masks, spacing)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3)])
def test_small_masks_far_apart_are_what_brute_force_gives(spacing: tuple[float, float]) -> None:
    """Few boundary pixels in a large rectangle are compared by themselves, not through a map of distances."""
    prediction, masks = (torch.zeros(1, 1, 40, 60) for _ in range(2))
    prediction[..., 2:6, 3:6] = prediction[..., 30, 50] = 1
    masks[..., 4:7, 4:9] = 1
    assert_equals_brute_force(prediction, masks, spacing)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::FutureWarning:monai")  # of the functions' own internals
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_both_are_those_of_monai() -> None:
    monai = pytest.importorskip("monai.metrics")
    generator = torch.Generator().manual_seed(0)
    noise = torch.nn.functional.avg_pool2d(torch.rand((12, 2, 40, 44), generator=generator), 9, stride=1)
    prediction, masks = ((noise[:, i : i + 1] > noise[:, i : i + 1].median()).float() for i in range(2))
    for spacing in ((1.0, 1.0), (0.7, 1.4)):
        hd = monai.compute_hausdorff_distance(
            prediction, masks, include_background=True, percentile=95, spacing=spacing
        )
        torch.testing.assert_close(hausdorff_95(prediction, masks, spacing=spacing), hd[:, 0].float())
        sd = monai.compute_surface_dice(prediction, masks, [2.0], include_background=True, spacing=spacing)
        torch.testing.assert_close(surface_dice(prediction, masks, spacing=spacing), sd[:, 0].float())


def test_empty_and_equal_masks() -> None:
    disc, empty = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)
    disc[..., 2:7, 2:7] = 1
    assert hausdorff_95(disc, disc).tolist() == [0.0]
    assert surface_dice(disc, disc, tolerance=0).tolist() == [1.0]
    assert hausdorff_95(empty, disc).isnan().all()
    assert surface_dice(empty, disc).tolist() == [0.0]
    assert surface_dice(empty, empty).isnan().all()


def test_what_is_refused() -> None:
    ones = torch.ones(1, 1, 3, 3)
    with pytest.raises(ShapeError):
        hausdorff_95(ones * 0.5, ones)
    for shape in ((2, 3, 3), (1, 2, 3, 3)):  # no channel, and more than one
        for metric in (hausdorff_95, surface_dice, lesion_f1):
            with pytest.raises(ShapeError, match=r"expected \(B, 1, H, W\)"):
                metric(torch.ones(shape), torch.ones(shape))
    with pytest.raises(ConfigError, match="spacing"):
        hausdorff_95(ones, ones, spacing=(0.0, 1.0))
    with pytest.raises(ConfigError, match="tolerance"):
        surface_dice(ones, ones, tolerance=-1.0)
