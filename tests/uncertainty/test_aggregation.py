"""Aggregations against hand-made maps, loops over pixels, and their contract."""

import math

import pytest
import torch
from tests.vectors import load_vectors
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.uncertainty import AGGREGATIONS
from trustseg.uncertainty.aggregation import boundary_excluded_mean, count_above, patch_max, quantile_mean

SIZES = [(1, 1, 1, 1), (1, 1, 3, 2), (4, 1, 21, 17)]

# Scores in a unit of their own, and their range over the H W pixels of an image; all others lie within their map.
RANGES = {"count_above": (0.0, math.inf), "morans_i": (-1.5, 1.5), "soft_dice_confidence": (0.0, 1.0)}

SEE_NO_LEVEL = ("morans_i", "soft_dice_confidence")  # the pattern of the map alone, or the probability alone

every_aggregation = pytest.mark.parametrize("name", AGGREGATIONS)


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator, dtype=dtype), torch.rand(shape, generator=generator, dtype=dtype)


def as_maps(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def test_vectors() -> None:
    for case in load_vectors("selective")["aggregation"]["cases"]:
        maps = as_maps(*case["map"]), as_maps(*case["probability"])
        options = case["parameters"]
        got = {name: aggregation(*maps) for name, aggregation in AGGREGATIONS.items()}
        got["count_above"] = count_above(*maps, threshold=options["threshold"])
        got["quantile_mean"] = quantile_mean(*maps, quantile=options["quantile"])
        got["boundary_excluded_mean"] = boundary_excluded_mean(*maps, width=options["width"])
        got["patch_max"] = patch_max(*maps, patch=options["patch"])
        for name, expected in case["expect"].items():
            assert got[name].item() == pytest.approx(expected, rel=1e-9), name


class TestByHand:
    uncertainty = as_maps([1.0, 2.0, 3.0, 4.0], [8.0, 7.0, 9.0, 5.0])
    probability = as_maps([0.9, 0.2, 0.2, 0.2], [0.9, 0.5, 0.2, 0.2])  # exactly 1/2 is background

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("mean", 4.875), ("max", 9.0), ("count_above", 8.0), ("quantile_mean", 9.0), ("foreground_mean", 4.5)],
    )
    def test_defaults(self, name: str, expected: float) -> None:
        assert AGGREGATIONS[name](self.uncertainty, self.probability).tolist() == [expected]

    def test_count_is_strict(self) -> None:
        assert count_above(self.uncertainty, self.probability, threshold=5.0).item() == 3

    @pytest.mark.parametrize(("quantile", "expected"), [(0.0, 4.875), (0.5, 7.25), (0.75, 8.5), (0.9, 9.0), (1.0, 9.0)])
    def test_quantile(self, quantile: float, expected: float) -> None:
        assert quantile_mean(self.uncertainty, self.probability, quantile=quantile).item() == expected

    @pytest.mark.parametrize(("width", "expected"), [(0, 4.875), (1, 5.25), (2, 4.5), (3, 9.0)])
    def test_rim(self, width: int, expected: float) -> None:
        # The prediction fills the first column: width 1 leaves columns 3 and 4, width 2 column 4, width 3 nothing.
        assert boundary_excluded_mean(self.uncertainty, self.probability, width=width).item() == expected

    @pytest.mark.parametrize(("patch", "expected"), [(1, 9.0), (2, 5.25), (99, 4.875)])
    def test_patch(self, patch: int, expected: float) -> None:
        assert patch_max(self.uncertainty, self.probability, patch=patch).item() == expected


def test_patch_and_rim_equal_loops() -> None:
    uncertainty, probability = draw((1, 1, 9, 7), torch.float64)
    u, positive = uncertainty[0, 0], probability[0, 0] > 0.8
    windows = [u[i : i + 3, j : j + 3].mean() for i in range(7) for j in range(5)]
    assert patch_max(uncertainty, probability, patch=3).item() == pytest.approx(max(windows).item())
    outside = []
    for i in range(9):
        for j in range(7):
            near = positive[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            if near.all() or not near.any():
                outside.append(u[i, j].item())
    assert 0 < len(outside) < 63
    got = boundary_excluded_mean(uncertainty, positive[None, None].double(), width=1)
    assert got.item() == pytest.approx(sum(outside) / len(outside))


@pytest.mark.parametrize("name", ["foreground_mean", "boundary_excluded_mean", "lesion_mean", "lesion_max"])
def test_an_empty_region_scores_the_maximum(name: str) -> None:
    uncertainty, _ = draw((2, 1, 3, 3))
    uncertainty -= 2  # a map may be negative, as differential entropy is
    probability = torch.zeros(2, 1, 3, 3)
    if name == "boundary_excluded_mean":
        probability[:, :, 1, 1] = 1  # the rim of the one pixel covers the image
    torch.testing.assert_close(AGGREGATIONS[name](uncertainty, probability), uncertainty.flatten(1).amax(1))


@pytest.mark.parametrize("name", ["foreground_mean", "lesion_mean", "lesion_max"])
def test_a_region_of_one_pixel_scores_its_value(name: str) -> None:
    uncertainty, _ = draw((1, 1, 3, 3))
    probability = torch.zeros(1, 1, 3, 3)
    probability[..., 2, 0] = 1
    uncertainty[..., 0, 0] = uncertainty.max() + 1
    torch.testing.assert_close(AGGREGATIONS[name](uncertainty, probability), uncertainty[:, 0, 2, 0])


@every_aggregation
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_score_an_image_inside_the_range_of_its_map(name: str, shape: tuple[int, ...], sign: float) -> None:
    uncertainty, drawn = draw(shape)
    uncertainty = sign * uncertainty
    flat = uncertainty.flatten(1)
    for probability in (drawn, torch.zeros(shape), torch.ones(shape)):
        score = AGGREGATIONS[name](uncertainty, probability)
        assert score.shape == shape[:1]
        assert score.dtype == uncertainty.dtype
        low, high = RANGES.get(name, (flat.amin(1), flat.amax(1)))
        assert ((score >= low - 1e-6) & (score <= high + 1e-6)).all()
        assert name != "count_above" or (score <= flat.shape[1]).all()


@pytest.mark.parametrize("name", [name for name in AGGREGATIONS if name != "soft_dice_confidence"])
def test_a_constant_map_scores_its_value(name: str) -> None:
    _, probability = draw((3, 1, 8, 5))
    score = AGGREGATIONS[name](torch.full((3, 1, 8, 5), 0.25), probability)
    assert score.tolist() == pytest.approx([0.0 if name in RANGES else 0.25] * 3)


@every_aggregation
def test_batch_split_permutation_and_mirror_change_nothing(name: str) -> None:
    uncertainty, probability = draw((4, 1, 21, 17))
    whole = AGGREGATIONS[name](uncertainty, probability)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(AGGREGATIONS[name](uncertainty[order], probability[order]), whole[order])
    for i in range(4):
        torch.testing.assert_close(AGGREGATIONS[name](uncertainty[i : i + 1], probability[i : i + 1]), whole[i : i + 1])
    torch.testing.assert_close(AGGREGATIONS[name](uncertainty.flip(-1, -2), probability.flip(-1, -2)), whole)


@pytest.mark.parametrize("name", [name for name in AGGREGATIONS if name not in SEE_NO_LEVEL])
def test_more_uncertainty_in_any_pixel_never_scores_less(name: str) -> None:
    uncertainty, probability = draw((4, 1, 21, 17))
    before = AGGREGATIONS[name](uncertainty, probability)
    surplus = torch.rand(uncertainty.shape, generator=torch.Generator().manual_seed(1)) ** 2
    assert (AGGREGATIONS[name](uncertainty + surplus, probability) >= before - 1e-6).all()
    assert (AGGREGATIONS[name](uncertainty + 0.3, probability) > before).all()


@pytest.mark.parametrize("name", SEE_NO_LEVEL)
def test_these_do_not_see_the_level_of_a_map(name: str) -> None:
    uncertainty, probability = draw((4, 1, 21, 17), torch.float64)
    before = AGGREGATIONS[name](uncertainty, probability)
    torch.testing.assert_close(AGGREGATIONS[name](uncertainty + 0.3, probability), before)
    ordered = AGGREGATIONS[name](uncertainty.flatten(1).sort(dim=1).values.view_as(uncertainty), probability)
    assert (ordered > before).all() != AGGREGATIONS[name].facts.ranks  # the same values, lying together


@every_aggregation
def test_other_shapes_are_refused(name: str) -> None:
    whole = (2, 1, 3, 5)
    broadcast = (1, 1, 3, 5)
    for one, other in ((whole, (2, 1, 5, 3)), (whole, broadcast), (whole, (2, 3, 5)), ((3, 5), (3, 5))):
        with pytest.raises(ShapeError, match=r"must have one shape \(B, 1, H, W\)"):
            AGGREGATIONS[name](torch.zeros(one), torch.zeros(other))


def test_bad_options_are_refused() -> None:
    maps = draw((1, 1, 4, 4))
    for quantile in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match=f"quantile must lie in .*, got {quantile}"):
            quantile_mean(*maps, quantile=quantile)
    with pytest.raises(ConfigError, match="width must be at least 0 pixels, got -1"):
        boundary_excluded_mean(*maps, width=-1)
    with pytest.raises(ConfigError, match="patch must be at least 1 pixel, got 0"):
        patch_max(*maps, patch=0)
