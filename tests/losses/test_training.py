"""The composed training loss, its stability through the head, and the annealing of its penalty."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from tests.vectors import load_vectors
from torch import Tensor, nn

from trustseg.beliefs import Bernoulli, Beta
from trustseg.errors import BeliefError, ConfigError, TrustsegError, UnknownNameError
from trustseg.losses import (
    LOSSES,
    SCHEDULES,
    Balance,
    Schedule,
    annealed,
    kl_to_uniform,
    losses_of,
    segmentation_loss,
    soft_dice,
    vacuity_correction,
)
from trustseg.models import Segmenter
from trustseg.models.spec import SegmenterSpec

GENERATOR = torch.Generator().manual_seed(3)
EVIDENCE = 9 * torch.rand(2, 3, 1, 4, 5, generator=GENERATOR)
BELIEF = Beta(1 + EVIDENCE[0], 1 + EVIDENCE[1])
MASKS = (torch.rand(3, 1, 4, 5, generator=GENERATOR) < 0.3).float()


@pytest.mark.parametrize("balance", ["none", "image"])
@pytest.mark.parametrize("data_term", losses_of("data"))
def test_is_the_weighted_sum_of_its_terms(data_term: str, balance: Balance) -> None:
    expected = (
        losses_of("data")[data_term](BELIEF, MASKS, balance=balance)
        + 0.3 * kl_to_uniform(BELIEF, MASKS, balance=balance)
        + 0.7 * vacuity_correction(BELIEF, MASKS, balance=balance)
        + 2.0 * soft_dice(BELIEF, MASKS)
    )
    got = segmentation_loss(
        BELIEF, MASKS, data_term=data_term, kl_weight=0.3, vacuity_weight=0.7, region_weight=2.0, balance=balance
    )
    torch.testing.assert_close(got, expected)


def test_terms_of_weight_zero_are_left_out() -> None:
    belief = Bernoulli(EVIDENCE[0])
    got = segmentation_loss(belief, MASKS, data_term="binary_cross_entropy", region_weight=0.0)
    torch.testing.assert_close(got, LOSSES["binary_cross_entropy"](belief, MASKS), rtol=0, atol=0)
    for weight, term in (("kl_weight", "kl_to_uniform"), ("vacuity_weight", "vacuity_correction")):
        with pytest.raises(BeliefError, match=f"{term} needs a Beta belief, got a Bernoulli"):
            segmentation_loss(belief, MASKS, data_term="binary_cross_entropy", **{weight: 0.1})  # type: ignore[arg-type]


def test_bad_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'type_ii_likelihood'"):
        segmentation_loss(BELIEF, MASKS, data_term="type_2_likelihood")
    for name in ("kl_weight", "vacuity_weight", "region_weight"):
        for weight in (-0.1, math.nan):
            with pytest.raises(ConfigError, match=f"{name} must be at least 0, got {weight}"):
                segmentation_loss(BELIEF, MASKS, data_term="type_ii_likelihood", **{name: weight})  # type: ignore[arg-type]


def through_the_head(logits: Tensor) -> Beta:
    """Return the belief of a segmenter whose network gives these logits (B, 2, H, W)."""

    class Given(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return logits

    belief = Segmenter(SegmenterSpec("unet", "resnet18", "beta"), Given()).belief(torch.zeros(len(logits), 1, 32, 32))
    assert isinstance(belief, Beta)
    return belief


@pytest.mark.parametrize("data_term", losses_of("data"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("filled", [0.0, 1.0])
def test_finite_through_the_head_for_evidence_from_0_to_a_million(
    data_term: str, dtype: torch.dtype, filled: float
) -> None:
    steps = torch.cat([torch.tensor([-1e4, -100.0, -10.0, 0.0]), torch.logspace(0, 6, 28)])  # float16 ends at 65,504
    logits = torch.cartesian_prod(steps, steps).T.reshape(1, 2, 32, 32).to(dtype).clamp(max=torch.finfo(dtype).max)
    logits = logits.repeat(2, 1, 1, 1).requires_grad_()
    masks = torch.full((2, 1, 32, 32), filled)
    masks[1] = torch.bernoulli(torch.full((1, 32, 32), 0.5), generator=torch.Generator().manual_seed(0))
    low = torch.bfloat16 if dtype == torch.float32 else dtype
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=low, enabled=autocast):
            loss = segmentation_loss(
                through_the_head(logits), masks, data_term=data_term, kl_weight=0.1, vacuity_weight=0.1
            )
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.dtype == torch.float32
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("data_term", sorted(set(losses_of("data")) - {"binary_cross_entropy"}))
def test_no_pixel_starts_dead(data_term: str) -> None:
    logits = torch.tensor([-10.0, -5.0]).view(1, 2, 1, 1).expand(1, 2, 32, 32).clone().requires_grad_()
    masks = torch.ones(1, 1, 32, 32)
    slopes = []
    for weight in (0.0, 1.0):
        loss = losses_of("data")[data_term](through_the_head(logits), masks)
        loss = loss + weight * vacuity_correction(through_the_head(logits), masks)
        slopes.append(32 * 32 * torch.autograd.grad(loss.sum(), logits)[0][0, 0, 0, 0].item())
    assert -1e-3 < slopes[0] < -1e-5  # alive, but hardly
    assert slopes[1] == pytest.approx(-1, abs=0.01)  # the vacuity of Beta(1, 1.007)


def test_annealing_vectors() -> None:
    for case in load_vectors("evidential")["annealing"]["cases"]:
        got = annealed(case["maximum"], epoch=case["epoch"], epochs=case["epochs"])
        assert got == pytest.approx(case["expect"]["weight"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0, 0.1, 0.2, 0.3, 0.4, 0.4]),
        ("cosine", [0, 0.4 * (1 - math.sqrt(0.5)) / 2, 0.2, 0.4 * (1 + math.sqrt(0.5)) / 2, 0.4, 0.4]),
        ("capped", [0, 0.25, 0.4, 0.4, 0.4, 0.4]),
    ],
)
def test_schedules_by_hand(schedule: Schedule, expected: list[float]) -> None:
    got = [annealed(0.4, epoch=epoch, epochs=4, schedule=schedule) for epoch in range(6)]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_grows_from_0_to_its_maximum(schedule: Schedule) -> None:
    for maximum, epochs in product((0.0, 0.1, 3.0), (0, 1, 7)):
        weights = [annealed(maximum, epoch=epoch, epochs=epochs, schedule=schedule) for epoch in range(40)]
        assert weights[0] == (0 if epochs else maximum)
        assert weights == sorted(weights)
        assert weights[-1] == max(weights) == maximum


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epoch": -1, "epochs": 10}, ConfigError, "at least 0"),
        ({"epoch": 3, "epochs": -1}, ConfigError, "at least 0"),
        ({"epoch": 0, "epochs": 1, "schedule": "cosin"}, UnknownNameError, "did you mean 'cosine'"),
    ],
)
def test_annealing_refuses(options: dict[str, Any], error: type[TrustsegError], words: str) -> None:
    with pytest.raises(error, match=words):
        annealed(0.1, **options)
