"""Every convention is recovered from images with masks, or asked for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.models.foreign import networks
from tests.models.foreign.networks import Red, Wrapped
from torch import Tensor, nn

from trustseg.errors import ConfigError, ModelError, QuestionError, UnknownNameError
from trustseg.models.foreign import Conventions, Findings, ForeignModel, find_conventions, open_model

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE = (123.68, 116.779, 103.939)
Change = Callable[[Tensor], Tensor]


def column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def search(network: nn.Module, *, masks: Tensor | None = None, **fixed: object) -> Findings:
    images = networks.images()
    return find_conventions(
        open_model(network), images, networks.masks(images) if masks is None else masks, fixed=fixed
    )


INPUTS: dict[str, tuple[Change | None, dict[str, Any]]] = {
    "plain": (None, {"order": "rgb"}),
    "bgr": (lambda images: images.flip(1), {"order": "bgr"}),
    "255": (lambda images: images / 255, {"scale": 255}),
    "imagenet": (lambda images: images * column(DEVIATION) + column(MEAN), {"mean": MEAN, "deviation": DEVIATION}),
    "half": (lambda images: images * 0.5 + 0.5, {"mean": (0.5,), "deviation": (0.5,)}),
    "caffe": (lambda images: (images + column(CAFFE)) / 255, {"scale": 255, "mean": CAFFE}),
    "imagenet, bgr": (
        lambda images: (images * column(DEVIATION) + column(MEAN)).flip(1),
        {"mean": MEAN, "deviation": DEVIATION, "order": "bgr"},
    ),
}

OUTPUTS: dict[str, tuple[Change | None, dict[str, Any]]] = {
    "logit": (None, {"output": "logit", "class_index": None}),
    "probability": (torch.sigmoid, {"output": "probability", "class_index": None}),
    "two channels": (
        lambda logits: torch.cat([3 - logits / 2, 3 + logits / 2], dim=1),
        {"output": "two_channel_logits", "class_index": 1},
    ),
    "foreground first": (
        lambda logits: torch.cat([logits / 2 - 3, -3 - logits / 2], dim=1),
        {"output": "two_channel_logits", "class_index": 0},
    ),
    "softmax": (
        lambda logits: torch.cat([-logits, torch.zeros_like(logits)], dim=1).softmax(dim=1),
        {"output": "softmax", "class_index": 1},
    ),
    "three classes": (
        lambda logits: torch.cat([torch.full_like(logits, 4), torch.full_like(logits, -50), logits + 4], dim=1),
        {"output": "classes", "class_index": 2},
    ),
    "labels": (lambda logits: (logits > 0).long() * 2, {"output": "labels", "class_index": 2}),
}


@pytest.mark.parametrize("name", INPUTS)
def test_the_input_is_recovered(name: str) -> None:
    before, expected = INPUTS[name]
    chosen = search(Wrapped(before, None)).chosen
    assert {key: getattr(chosen, key) for key in expected} == expected
    assert chosen.output == "logit"


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_is_recovered_and_gives_the_same_log_odds(name: str) -> None:
    after, expected = OUTPUTS[name]
    images = networks.images()
    network = open_model(Wrapped(None, after))
    chosen = find_conventions(network, images, networks.masks(images), fixed={}).chosen
    assert {key: getattr(chosen, key) for key in expected} == expected
    with torch.no_grad():
        found, own = ForeignModel(network, chosen)(images).log_odds, Red()(images)
    if name == "labels":
        assert torch.equal(found > 0, own > 0)
    else:
        torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-4)


def test_z_scores_of_each_image_are_recovered() -> None:
    images = networks.images()
    deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
    masks = networks.masks((images - mean) / deviation)
    assert search(Red(), masks=masks).chosen.per_image


def test_what_is_close_and_differs_is_asked_by_its_option() -> None:
    # Channel 1 is the same with softmax and with a sigmoid, at half the log-odds.
    two = Wrapped(None, lambda logits: torch.cat([-logits, logits], dim=1))
    findings = search(two)
    with pytest.raises(QuestionError, match="output=two_channel_logits or output=logit"):
        _ = findings.chosen
    assert findings.tried[0][1] == pytest.approx(1)
    assert search(two, output="two_channel_logits").chosen.class_index == 1
    assert search(two, output="logit").chosen.class_index == 1


def test_what_differs_in_nothing_is_not_asked() -> None:
    class Any(nn.Module):  # its output does not depend on the range of its input
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 1, 1, bias=False)
            nn.init.constant_(self.first.weight, 1.0)

        def forward(self, images: Tensor) -> Tensor:
            values: Tensor = self.first(images)
            shifted = values - values.mean(dim=(2, 3), keepdim=True)
            return shifted / shifted.std(dim=(2, 3), keepdim=True)

    images = networks.images(channels=1)
    network = open_model(Any())
    with torch.no_grad():
        masks = (network(images.expand(-1, 3, -1, -1)) > 0).float()
    findings = find_conventions(network, images, masks, fixed={})
    assert findings.chosen.scale == 1
    assert findings.notes  # that the images are grey


def test_nothing_that_fits_is_asked() -> None:
    masks = (torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    with pytest.raises(QuestionError, match="output="):
        _ = search(Red(), masks=masks).chosen


def test_without_masks_conventions_are_asked_and_taken() -> None:
    for masks in (None, torch.zeros(6, 1, 32, 32)):
        network = open_model(Red())
        with pytest.raises(QuestionError, match="output=logit --convention scale=1"):
            find_conventions(network, networks.images(), masks, fixed={})
        known = {"output": "logit", "scale": 1}
        assert find_conventions(network, networks.images(), masks, fixed=known).chosen == Conventions()


def test_unknown_conventions_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="scale"):
        search(Red(), scales=1)
    wrong: dict[str, object] = {"output": "logits", "scale": 2, "mean": [1, 2], "size": "big", "threshold": 1}
    for name, value in wrong.items():
        with pytest.raises(ConfigError, match=name):
            find_conventions(open_model(Red()), networks.images(), None, fixed={name: value})
    with pytest.raises(ConfigError, match="one channel"):
        ForeignModel(open_model(nn.Conv2d(1, 1, 1)), Conventions(mean=MEAN))(networks.images(1))


@pytest.mark.parametrize(
    "wrong", [{"output": "softmax"}, {"output": "probability"}, {"class_index": 5}], ids=lambda wrong: next(iter(wrong))
)
def test_conventions_that_the_output_does_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(ModelError, match=f"{name}={value}"):
        search(Red(), **wrong)


def test_conventions_may_be_written_as_in_yaml() -> None:
    before, expected = INPUTS["half"]
    chosen = search(Wrapped(before, None), mean=0.5, deviation=[0.5]).chosen
    assert {key: getattr(chosen, key) for key in expected} == expected


def test_nan_is_refused_wherever_it_appears() -> None:
    broken = Wrapped(None, lambda logits: logits * torch.nan)
    with pytest.raises(ModelError, match="NaN"):
        search(broken)
    with torch.no_grad(), pytest.raises(ModelError, match="NaN"):
        ForeignModel(open_model(broken), Conventions())(networks.images(1))


@pytest.mark.parametrize("name", ["probability", "softmax"])
def test_gradients_of_probabilities_do_not_vanish(name: str) -> None:
    after, expected = OUTPUTS[name]
    images = torch.ones(1, 3, 8, 8) * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)

    assert after is not None
    network = open_model(Wrapped(None, lambda logits: after(100 * logits)))
    with torch.no_grad():
        assert float(network(images)[:, -1:].min()) == 1  # saturated: a gradient through it is exactly 0
    for sign in (1.0, -1.0):
        given = (images * sign).requires_grad_()
        odds = ForeignModel(network, Conventions(**expected))(given).log_odds
        (gradient,) = torch.autograd.grad(odds.sum(), given)
        assert gradient[:, 0].abs().min() > 0 if sign > 0 else True
        torch.testing.assert_close(odds, 100 * Red()(given), atol=1e-3, rtol=1e-5)


def test_a_probability_that_is_no_activation_keeps_a_gradient() -> None:
    network = open_model(Wrapped(None, lambda logits: logits.sigmoid() * 1.0))
    assert network.activation is None
    images = networks.images(1).requires_grad_()
    odds = ForeignModel(network, Conventions(output="probability"))(images).log_odds
    torch.testing.assert_close(odds, Red()(images), atol=1e-2, rtol=2e-2)
    (gradient,) = torch.autograd.grad(odds.sum(), images)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().sum()) > 0


def test_a_threshold_moves_the_decision() -> None:
    images = networks.images(2)
    model = ForeignModel(open_model(Red()), Conventions(threshold=0.9))
    with torch.no_grad():
        assert torch.equal(model(images).log_odds > 0, torch.sigmoid(Red()(images)) > 0.9)


@pytest.mark.parametrize(("fit", "inside"), [("crop", slice(4, 36)), ("resize", slice(None))])
def test_images_are_fitted_and_beliefs_come_back(fit: str, inside: slice) -> None:
    images = networks.images(2, size=40)
    model = ForeignModel(open_model(Red()), Conventions(size=32, fit=fit))  # type: ignore[arg-type]  # one of Fit
    with torch.no_grad():
        found, own = model(images).log_odds, Red()(images)
    assert found.shape == own.shape
    middle = slice(6, 34)
    assert float(((found > 0) == (own > 0))[..., middle, middle].float().mean()) > 0.95
    if fit == "crop":
        assert float(found[..., :4, :].max()) < -10
        torch.testing.assert_close(found[..., 5:35, 5:35], own[..., 5:35, 5:35], atol=1e-4, rtol=1e-4)


def test_grey_and_colour_fit_any_network() -> None:
    grey = networks.images(2, channels=1)
    model = ForeignModel(open_model(Red()), Conventions())
    with torch.no_grad():
        assert torch.equal(model(grey).log_odds, model(grey.expand(-1, 3, -1, -1)).log_odds)
        single = ForeignModel(open_model(nn.Conv2d(1, 1, 1)), Conventions())
        torch.testing.assert_close(
            single(grey).log_odds, single(grey.expand(-1, 3, -1, -1)).log_odds, atol=1e-5, rtol=1e-5
        )
