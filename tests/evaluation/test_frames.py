"""Padding is no part of an image: no score counts it and no attack changes it."""

import math

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from torch import Tensor

from trustseg.attacks import ATTACKS, UNCERTAINTY_ATTACKS, minimal_eps
from trustseg.config import AttackConfig
from trustseg.data.resizing import Area
from trustseg.evaluation.conditions import Condition, Deployed, attack_budgets, perturb
from trustseg.evaluation.frames import image_scores, native_dice, region_of
from trustseg.shifts import SHIFTS
from trustseg.uncertainty import AGGREGATIONS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def padded(maps: Tensor, area: Area, size: int) -> Tensor:
    """Return maps in the middle of squares of noise."""
    squares = torch.rand(len(maps), 1, size, size, generator=seeded(9))
    squares[(..., *area.slices)] = maps
    return squares


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_score_is_the_same_however_much_an_image_was_padded(name: str) -> None:
    uncertainty, probability = torch.rand(2, 3, 1, 12, 20, generator=seeded())
    expected = AGGREGATIONS[name](uncertainty, probability)
    little, much = Area(4, 0, 12, 20), Area(44, 40, 12, 20)
    for area, size in ((little, 20), (much, 100)):
        first, second = (padded(values, area, size) for values in (uncertainty, probability))
        torch.testing.assert_close(image_scores(name, first, second, [area] * 3), expected)


def test_images_of_one_batch_may_be_padded_in_several_ways() -> None:
    areas = [Area(0, 0, 4, 8), Area(2, 0, 4, 8), Area(0, 0, 4, 8), Area(0, 3, 8, 2)]
    maps = torch.zeros(4, 1, 8, 8, requires_grad=True)
    filled = maps + torch.arange(1.0, 5).view(4, 1, 1, 1)
    scores = image_scores("mean", filled, filled, areas)
    assert scores.tolist() == [1, 2, 3, 4]
    (gradient,) = torch.autograd.grad(scores.sum(), maps)
    region = region_of(areas, maps)
    assert region is not None
    assert torch.equal(gradient != 0, region)


def batch() -> tuple[Tensor, Tensor, list[Area]]:
    areas = [Area(8, 0, 16, 32), Area(0, 5, 32, 20)]
    images = torch.rand(2, 1, 32, 32, generator=seeded())
    region = region_of(areas, images)
    assert region is not None
    return images, (images > 0.6).float().where(region, torch.nan), areas


@pytest.mark.parametrize("norm", [None, "l2"])
@pytest.mark.parametrize("name", [*ATTACKS, *UNCERTAINTY_ATTACKS, "ensemble"])
def test_no_attack_changes_padding(name: str, norm: str | None) -> None:
    if norm is not None and name not in ("pgd", "apgd"):
        pytest.skip("one of each kind is enough")
    few = {} if name in ("fgsm", "r_fgsm", "rs_fgsm", "ensemble") else {"steps": 3}
    images, masks, areas = batch()
    region = region_of(areas, images)
    assert region is not None
    eps = 0.05 if norm is None else 1.0
    attack = AttackConfig(name=name, eps=(eps,), norm=norm, **few)
    condition, model = Condition(name, eps, attack), small_segmenter().eval()
    deployed = Deployed("entropy", "mean", threshold=0.4, median_dice=0.5)
    found = [perturb(model, images, masks, condition, generator=seeded(), deployed=deployed, areas=areas).images]
    if condition.stacks:
        both = attack_budgets(model, images, masks, [condition] * 2, generator=seeded(), deployed=deployed, areas=areas)
        found += [changed.images for changed in both]
    for changed in found:
        assert torch.equal(changed[~region], images[~region])
        assert name != "pgd" or not torch.equal(changed, images)


@pytest.mark.parametrize("name", SHIFTS)
def test_no_shift_of_tones_changes_padding(name: str) -> None:
    images, masks, areas = batch()
    region = region_of(areas, images)
    assert region is not None
    condition = Condition(name, shift=name, severity=3)
    changed = perturb(small_segmenter(), images, masks, condition, generator=seeded(), areas=areas).images
    assert torch.equal(changed[~region], images[~region])
    assert not torch.equal(changed, images)


def test_the_smallest_budget_leaves_padding_alone() -> None:
    images, masks, areas = batch()
    region = region_of(areas, images)
    assert region is not None
    found = minimal_eps(small_segmenter().eval(), images, masks, ladder=(0.1, 0.5), halvings=1, steps=2, region=region)
    assert torch.equal(found.images[~region], images[~region])


def test_native_dice_by_hand() -> None:
    probability = torch.full((1, 1, 4, 4), 0.9)
    probability[..., 1:3, :2] = 0.1  # the image itself: two rows, whose left half is background
    mask = torch.zeros(4, 8)
    mask[:, 4:6] = 1
    assert native_dice(probability, mask, Area(1, 0, 2, 4)) == pytest.approx(2 * 8 / (16 + 8))
    mask[:, 6:] = math.nan
    assert native_dice(probability, mask, Area(1, 0, 2, 4)) == 1
    assert math.isnan(native_dice(probability * 0, torch.zeros(8, 8)))
    assert native_dice(probability, torch.full((7, 5), 1.0)) == pytest.approx(2 * 27 / (27 + 35), abs=0.2)
