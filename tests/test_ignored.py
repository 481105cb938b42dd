"""Whatever takes masks gives, with ignored pixels, what it gives of the image with these pixels cut out.

Every entry of the dictionaries and every public metric is held to it the moment it exists.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from trustseg import losses, metrics
from trustseg.attacks import ATTACKS, OBJECTIVES
from trustseg.attacks.minimal import is_broken
from trustseg.attacks.search import areas, harm
from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.entries import Entry
from trustseg.errors import BeliefError, ShapeError
from trustseg.losses import LOSSES
from trustseg.uncertainty import AGGREGATIONS
from trustseg.uncertainty import MEASURES as MEASURES_OF_BELIEFS

SHAPE = (3, 1, 6, 8)
ALIGNMENTS: dict[str, Callable[..., Tensor]] = {
    "kl_divergence": losses.kl_divergence,
    "evidence_alignment": lambda before, after, masks: losses.evidence_alignment(
        before, after, masks, squared_weight=1, cross_entropy_weight=1, strength_weight=1
    ),
}
# What takes belief and masks: no list of names, but the dictionaries and the public functions of their packages.
JUDGES: dict[str, Callable[..., Any]] = {
    **{f"loss {name}": loss for name, loss in LOSSES.items()},
    **{
        f"balanced {name}": lambda belief, masks, term=term: term(belief, masks, balance="image")
        for name, term in losses.losses_of("data").items()
    },
    "vacuity_correction": losses.vacuity_correction,
    **{
        f"objective {name}": lambda belief, masks, each=each: each(belief, masks, 0.5)
        for name, each in OBJECTIVES.items()
    },
    "harm": harm,
    "areas": areas,
    "is_broken": lambda belief, masks: is_broken(belief, masks, tau=0.5),
}
PUBLIC = {name: getattr(metrics, name) for name in metrics.__all__}
MEASURES = sorted(
    name
    for name, each in PUBLIC.items()
    if callable(each) and "masks" in inspect.signature(each.update if hasattr(each, "update") else each).parameters
)
OPTIONS = {"coverage": 0.5, "risk": 0.2}  # of metrics that ask for one


def streaming(name: str) -> Any:  # noqa: ANN401 - any metric
    """Return a metric that takes batches, with what it asks for; None for a function."""
    each = PUBLIC[name]
    if not (inspect.isclass(each) and issubclass(each, Metric)):
        return None
    asked = inspect.signature(each).parameters
    return each(**{key: value for key, value in OPTIONS.items() if key in asked})


def drawn(shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    """Return evidence (2, *shape) and masks, the second one empty."""
    generator = torch.Generator().manual_seed(4)
    evidence = torch.randn(2, *shape, generator=generator).exp()
    masks = (torch.rand(shape, generator=generator) < 0.4).float()
    masks[1] = 0
    return evidence, masks


def frame() -> Tensor:
    """Return the pixels of a padded image that are its own."""
    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[..., 1:5, 2:7] = True
    return inside


def scattered() -> Tensor:
    """Return pixels here and there, as many in each image."""
    order = torch.rand(SHAPE[0], 48, generator=torch.Generator().manual_seed(5)).argsort(dim=1)
    return (order < 20).view(SHAPE)


def cut(values: Tensor, inside: Tensor) -> Tensor:
    """Return the pixels (B, 1, H, W) that are inside, as an image of 4 x 5."""
    return values[inside].view(len(values), 1, 4, 5)


def kinds_of(evidence: Tensor) -> list[Belief]:
    beta = Beta(1 + evidence[0], 1 + evidence[1])
    bernoulli = Bernoulli(evidence[0] - evidence[1])
    return [beta, bernoulli, Mixture([beta, bernoulli])]


def accepted(judge: Callable[..., Any], evidence: Tensor, masks: Tensor) -> list[Any]:
    """Return what a judge says of every kind of belief that it takes."""
    found = []
    for belief in kinds_of(evidence):
        try:
            found.append(judge(belief, masks))
        except BeliefError:
            found.append(None)
    assert found[0] is not None
    return found


@pytest.mark.parametrize("inside", [frame(), scattered()], ids=["padded", "void"])
@pytest.mark.parametrize("name", JUDGES)
def test_of_beliefs(name: str, inside: Tensor) -> None:
    evidence, masks = drawn()
    held = masks.where(inside, torch.nan)
    smaller = torch.stack([cut(side, inside) for side in evidence])
    if isinstance(judge := JUDGES[name], Entry) and getattr(judge.facts, "geometric", False):
        expected = accepted(judge, evidence, held)  # pixels that are cut out lie elsewhere
    else:
        expected = accepted(judge, smaller, cut(masks, inside))
    evidence = torch.where(inside, evidence, 1000.0 * evidence).requires_grad_()  # gain or harm that must not count
    found = accepted(judge, evidence, held)
    torch.testing.assert_close(found, expected)
    if not isinstance(found[0], Tensor) or not found[0].is_floating_point() or not found[0].requires_grad:
        return
    for value in (value for value in found if value is not None):
        (gradient,) = torch.autograd.grad(value.sum(), evidence)
        assert gradient.isfinite().all()
        assert (gradient[:, ~inside] == 0).all()


@pytest.mark.parametrize("name", JUDGES)
def test_nothing_but_ignored_pixels_is_no_reason_to_fail(name: str) -> None:
    evidence, masks = drawn()
    found = accepted(JUDGES[name], evidence, torch.full_like(masks, torch.nan))[0]
    assert not any(bool(values.any()) for values in (found if isinstance(found, tuple) else (found,)))


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_of_two_beliefs(name: str) -> None:
    evidence, masks = drawn()
    inside = scattered()
    before, after = kinds_of(evidence)[0], kinds_of(evidence.flip(0) + 1)[0]
    parts = [
        kinds_of(torch.stack([cut(side, inside) for side in each]))[0] for each in (evidence, evidence.flip(0) + 1)
    ]
    expected = ALIGNMENTS[name](*parts, cut(masks, inside))
    torch.testing.assert_close(ALIGNMENTS[name](before, after, masks.where(inside, torch.nan)), expected)


def measured(name: str, evidence: Tensor, masks: Tensor) -> list[Tensor]:
    """Return all that a metric says, as tensors."""
    each = PUBLIC[name]
    belief = kinds_of(evidence)[0]
    values = {
        **{"prediction": belief.probability > 0.5, "probability": belief.probability, "log_odds": belief.log_odds},
        **{"uncertainty": belief.uncertainty("entropy"), "masks": masks},
    }
    if (metric := streaming(name)) is not None:
        for row in range(len(masks)):
            wanted = (key for key in inspect.signature(metric.update).parameters if key != "region")
            metric.update(**{key: values[key][row : row + 1] for key in wanted})
        return [metric.compute()]
    parameters = inspect.signature(each).parameters.values()
    found = each(**{key.name: values[key.name] for key in parameters if key.default is inspect.Parameter.empty})
    return [getattr(found, part.name) for part in fields(found)] if is_dataclass(found) else [found]


def looks_at_places(name: str, evidence: Tensor, masks: Tensor) -> bool:
    """Return whether a metric changes when the pixels of each image are put in another order."""
    order = torch.randperm(48, generator=torch.Generator().manual_seed(6))

    def shuffled(values: Tensor) -> Tensor:
        return values.flatten(-2)[..., order].view_as(values)

    before, after = measured(name, evidence, masks), measured(name, shuffled(evidence), shuffled(masks))
    return not all(
        torch.allclose(
            shuffled(ours).double() if ours.shape == masks.shape else ours.double(), theirs.double(), equal_nan=True
        )
        for ours, theirs in zip(before, after, strict=True)
    )


@pytest.mark.parametrize("inside", [frame(), scattered()], ids=["padded", "void"])
@pytest.mark.parametrize("name", MEASURES)
def test_of_metrics(name: str, inside: Tensor) -> None:
    evidence, masks = drawn()
    if not torch.equal(inside, frame()) and looks_at_places(name, evidence, masks):
        pytest.skip("it looks at the places of pixels, so that they cannot be cut out one by one")
    elsewhere = torch.tensor([1000.0, 0.0]).view(2, 1, 1, 1, 1)  # foreground, for sure
    found = measured(name, torch.where(inside, evidence, elsewhere), masks.where(inside, torch.nan))
    expected = measured(name, torch.stack([cut(side, inside) for side in evidence]), cut(masks, inside))
    for ours, theirs in zip(found, expected, strict=True):
        of_pixels = ours.shape == masks.shape
        torch.testing.assert_close(cut(ours, inside) if of_pixels else ours, theirs, check_dtype=False, equal_nan=True)
        if of_pixels:  # outside, nothing that could be taken for a value
            assert (ours[~inside].isnan() | (ours[~inside] == 0)).all()


@pytest.mark.parametrize("name", ["auroc", "average_precision", "fpr_at_tpr"])
def test_of_detection(name: str) -> None:
    scores, labels = torch.tensor([0.1, 0.4, 0.2, 9.0]), torch.tensor([0.0, 1.0, 1.0, torch.nan])
    assert PUBLIC[name](scores, labels) == PUBLIC[name](scores[:3], labels[:3])


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_do_not_see_what_is_predicted_on_ignored_pixels(name: str) -> None:
    inside = scattered()[:2]
    images = 0.3 + 0.4 * torch.rand(inside.shape, generator=torch.Generator().manual_seed(1))
    masks = (images > 0.5).float()
    attack: Any = ATTACKS[name]
    few = {"steps": 5} if "steps" in inspect.signature(attack).parameters else {}

    def attacked(elsewhere: float) -> Tensor:
        def model(points: Tensor) -> Belief:
            return Bernoulli(torch.where(inside, points - 0.45, elsewhere * points))

        generator = torch.Generator().manual_seed(2)
        held = masks.where(inside, torch.nan)
        changed: Tensor = attack(model, images, held, eps=0.1, generator=generator, **few)
        return changed

    assert torch.equal(attacked(100.0), attacked(-100.0))


@pytest.mark.parametrize("name", JUDGES)
def test_what_is_no_mask_or_no_belief_is_refused(name: str) -> None:
    evidence, masks = drawn()
    belief = kinds_of(evidence)[0]
    if name in ("harm", "areas", "is_broken"):
        return  # inner functions, called with what has been checked
    for same in (masks.bool(), masks.byte(), masks.long(), masks.double()):
        torch.testing.assert_close(JUDGES[name](belief, same), JUDGES[name](belief, masks))
    for wrong in (masks[:, 0], masks[:1], masks[..., 1:], 255 * masks, 255 * masks.byte(), masks + 0.5):
        with pytest.raises(ShapeError):
            JUDGES[name](belief, wrong)
    for other in (belief.log_odds, None):
        with pytest.raises(BeliefError, match=r"Bernoulli\(logits\)"):
            JUDGES[name](other, masks)


@pytest.mark.parametrize("name", MEASURES)
def test_metrics_take_no_belief(name: str) -> None:
    metric = streaming(name)
    call = PUBLIC[name] if metric is None else metric.update
    parameters = [key.name for key in inspect.signature(call).parameters.values() if key.default is key.empty]
    belief = Bernoulli(torch.zeros(1, 1, 2, 2))
    with pytest.raises(ShapeError, match="is a Bernoulli"):
        call(**{key: belief for key in parameters})


@pytest.mark.parametrize("name", [*MEASURES_OF_BELIEFS, *AGGREGATIONS])
def test_uncertainty_takes_beliefs_and_maps_as_it_says(name: str) -> None:
    logits = torch.zeros(1, 1, 2, 2)
    if name in MEASURES_OF_BELIEFS:
        with pytest.raises(BeliefError, match=r"Bernoulli\(logits\)"):
            MEASURES_OF_BELIEFS[name](logits)
    else:
        with pytest.raises(ShapeError, match="is a Bernoulli"):
            AGGREGATIONS[name](Bernoulli(logits), logits)
