"""Files return what the model returns: every architecture, head, measure and aggregation; fits, channels, types."""

from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from tests.evaluation.packs import small_segmenter
from tests.export.given import SHAPES, check_parity, described, exported, noise
from tests.policies import policy_with
from torch import Tensor, nn

from trustseg.beliefs import Bernoulli, Beta
from trustseg.calibration import Calibrated, Calibration
from trustseg.data.resizing import Fit, image_area, resize_image
from trustseg.deferral import Policy
from trustseg.errors import ModelError
from trustseg.export.graphs import as_onnx, digamma, lgamma
from trustseg.export.pipeline import centred, resampling, review
from trustseg.export.writing import COMPONENTS, PADDED
from trustseg.models import ARCHITECTURES, BeliefModel, build_segmenter
from trustseg.uncertainty import AGGREGATIONS, MEASURES

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def calibrated(model: BeliefModel, method: str, **values: float) -> BeliefModel:
    return Calibrated(model, Calibration(method, values, "validation", 3, 3, "", 0.7, 0.6)).eval()


class Together(nn.Module):
    """One network of each architecture; the belief about a batch holds that of each network, one after the other."""

    passes = 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        built = [
            build_segmenter(
                architecture=name,
                encoder="resnet50" if name == "fcn" else "tu-test_resnet",
                head=("beta", "bernoulli")[number % 2],
                evidence=("exp", "softplus")[number % 4 // 2],
                size=32,
            ).eval()
            for number, name in enumerate(sorted(ARCHITECTURES))
        ]
        self.members: Any = nn.ModuleList(built)
        self.spec = built[0].spec

    def belief(self, images: Tensor) -> Bernoulli:
        return Bernoulli(torch.cat([member.belief(images).log_odds for member in self.members]))


@pytest.mark.slow
def test_every_architecture() -> None:
    together: Any = Together()
    about = described(together, aggregation="soft_dice_confidence")
    _, (opened,) = exported(together, about, ".onnx")
    for number, shape in enumerate([(1, 1, 32, 32), (2, 3, 40, 71)]):
        images = noise(*shape, seed=number)
        found = opened(images)
        for position, member in enumerate(together.members):
            part = slice(position * len(images), (position + 1) * len(images))
            check_parity(member, about, {name: values[part] for name, values in found.items()}, images)


class Scores(nn.Module):
    """Every measure of a Bernoulli, a Beta and both in a mixture, and every aggregation, as one graph."""

    def forward(self, alpha: Tensor, beta: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        both = Beta(alpha, beta)
        for belief in (Bernoulli(alpha - beta), both):
            for name in belief.measures:
                found[f"{name} of a {type(belief).__name__}"] = MEASURES[name](belief)
        for name in sorted(AGGREGATIONS.keys() - COMPONENTS - PADDED):
            found[name] = AGGREGATIONS[name](MEASURES["dissonance"](both), both.probability)
        return found


@pytest.mark.slow
def test_every_measure_and_aggregation() -> None:
    """On maps of any size, as they are cut out of their padding."""
    generator = torch.Generator().manual_seed(0)

    def evidence(*shape: int) -> Tensor:
        return 1 + 10 ** (8 * torch.rand(*shape, generator=generator) - 4)

    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    traced = (evidence(3, 1, 24, 40), evidence(3, 1, 24, 40))
    program = torch.export.export(Scores(), traced, dynamic_shapes=(free, free)).run_decompositions({})
    names = list(Scores()(*traced))
    session = ort.InferenceSession(as_onnx(program, ["alpha", "beta"], names).SerializeToString())
    for shape in ((3, 1, 24, 40), (1, 1, 31, 2), (2, 1, 1, 1)):
        alpha, beta = evidence(*shape), evidence(*shape)
        found = session.run(None, {"alpha": alpha.numpy(), "beta": beta.numpy()})
        for (name, values), other in zip(Scores()(alpha, beta).items(), found, strict=True):
            assert_allclose(other, values, rtol=1e-5, atol=1e-5, err_msg=f"{name} {shape}")


def test_a_beta_head_padded_grey_and_calibrated() -> None:
    """As ONNX and as torch.export program, from the same graph."""
    model = calibrated(small_segmenter("beta").eval(), "evidence_scaling", scale=0.7)
    about = described(model, measure="dissonance", aggregation="foreground_mean", fit="pad")
    _, files = exported(model, about, ".onnx", ".pt2")
    for opened in files:
        for number, shape in enumerate(SHAPES):
            images = noise(*shape, seed=number)
            check_parity(model, about, opened(images), images)
        for channels in (2, 4):
            with pytest.raises(ModelError):
                opened.runner(noise(1, channels, 32, 32))


def test_a_bernoulli_head_of_colours_in_float_with_a_policy() -> None:
    values = {"slope_low": 0.8, "slope_high": 1.3, "offset": 0.1}
    model = calibrated(small_segmenter("bernoulli", channels=3).eval(), "beta_calibration", **values)
    policy: Policy = policy_with(threshold=0.691)  # in the midst of the scores
    about = described(model, policy, input="float32", aggregation="quantile_mean(quantile=0.9)")
    _, files = exported(model, about, ".onnx", ".pt2")
    for opened in files:
        reviewed = set()
        for number, shape in enumerate(SHAPES):
            images = noise(*shape, seed=number)
            found = opened(images)
            check_parity(model, about, found, images)
            np.testing.assert_array_equal(found["review"], policy.review(found["score"]))
            reviewed |= set(found["review"].tolist())
        assert reviewed == {True, False}


@pytest.mark.parametrize("threshold", [-np.inf, 0.0, 0.25, np.inf])
def test_review_is_that_of_the_policy(threshold: float) -> None:
    scores = torch.tensor([-torch.inf, -1.0, 0.0, 0.25, 0.2500001, torch.inf, torch.nan])
    expected = policy_with(threshold=threshold).review(scores.numpy())
    np.testing.assert_array_equal(review(scores, threshold).numpy(), expected)


@pytest.mark.parametrize("fit", get_args(Fit))
def test_the_matrices_resize_as_the_data_are_resized(fit: Fit) -> None:
    """Every pixel is equal: smaller, larger, equal, thin and odd images."""
    rng = np.random.default_rng(0)
    for height, width in product((1, 2, 5, 12, 23, 24, 25, 36, 48, 71, 300), repeat=2):
        pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
        area = image_area(width, height, size=24, fit=fit)
        if fit == "pad":
            assert centred(height, width, size=24) == tuple(area)
        rows, row_sum = resampling(height, area.height, start=area.top, size=24)
        columns, column_sum = resampling(width, area.width, start=area.left, size=24)
        total = rows @ torch.from_numpy(pixels).double() @ columns.T
        found = torch.round(total / (row_sum * column_sum)).byte().numpy()
        np.testing.assert_array_equal(found, resize_image(pixels, 24, fit))


@pytest.mark.parametrize(("ours", "of_torch"), [(digamma, torch.digamma), (lgamma, torch.lgamma)])
def test_digamma_and_lgamma_are_those_of_torch(
    ours: Callable[[Tensor], Tensor], of_torch: Callable[[Tensor], Tensor]
) -> None:
    x = torch.logspace(-3, 8, 5000, dtype=torch.float64)
    torch.testing.assert_close(ours(x), of_torch(x), rtol=1e-10, atol=1e-10)
    assert ours(x.float()).dtype == torch.float32
