import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.built import SMALL
from tests.vectors import load_vectors
from torch import Tensor, nn

from trustseg.beliefs import Bernoulli, Beta
from trustseg.errors import ModelError, ShapeError, UnknownNameError
from trustseg.models import HEADS, Segmenter, build_segmenter
from trustseg.models.spec import EVIDENCE, SegmenterSpec


class Constant(nn.Module):
    """Gives the same logits for every pixel, and remembers what it was shown."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)
        self.seen = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return self.logits.view(1, -1, 1, 1).expand(len(images), -1, *images.shape[2:])


def constant(head: str, *logits: float, prior: float = 1.0, channels: int = 1) -> tuple[Segmenter, Constant]:
    network = Constant(*logits)
    return Segmenter(SegmenterSpec("unet", "resnet18", head, channels=channels, prior=prior), network), network


# --- from logits to beliefs ------------------------------------------------------------------------------------------


def test_the_bernoulli_head_is_the_logit() -> None:
    belief = constant("bernoulli", -1.5)[0].belief(torch.rand(2, 1, 5, 7))
    assert isinstance(belief, Bernoulli)
    torch.testing.assert_close(belief.logits, torch.full((2, 1, 5, 7), -1.5))


def test_the_beta_head_gives_the_golden_vectors() -> None:
    for case in load_vectors("evidential")["head"]["cases"]:
        segmenter, _ = constant("beta", case["logit_one"], case["logit_zero"], prior=case["prior"])
        belief = segmenter.belief(torch.zeros(1, 1, 1, 1))
        assert isinstance(belief, Beta)
        assert belief.alpha.item() == pytest.approx(case["expect"]["alpha"], rel=1e-6)
        assert belief.beta.item() == pytest.approx(case["expect"]["beta"], rel=1e-6)


def test_no_evidence_at_all_is_the_prior() -> None:
    belief = constant("beta", -200.0, -200.0)[0].belief(torch.zeros(1, 1, 1, 1))
    assert isinstance(belief, Beta)
    assert (belief.alpha.item(), belief.beta.item(), belief.vacuity().item()) == (1.0, 1.0, 1.0)


def test_images_are_normalised_and_padded_by_their_border() -> None:
    segmenter, network = constant("bernoulli", 0.0)
    images = torch.rand(1, 1, 33, 20)
    segmenter.belief(images)
    assert network.seen.shape == (1, 1, 64, 32)
    torch.testing.assert_close(network.seen[..., :33, :20], (images - 0.5) / 0.25)
    assert torch.equal(network.seen[..., 33:, :20], network.seen[..., 32:33, :20].expand(1, 1, 31, 20))
    assert torch.equal(network.seen[..., :, 20:], network.seen[..., :, 19:20].expand(1, 1, 64, 12))
    segmenter.belief(torch.rand(1, 1, 64, 32))
    assert network.seen.shape == (1, 1, 64, 32)


def test_the_padding_is_cut_off_where_it_was_added(trained: Segmenter) -> None:
    images = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, (0, 14, 0, 24), mode="replicate")
    with torch.no_grad():
        expected = trained.belief(padded).probability[..., :40, :50]
        torch.testing.assert_close(trained.belief(images).probability, expected)


@pytest.mark.parametrize("head", HEADS)
def test_beliefs_are_float32_under_autocast_and_float64_in_float64(head: str) -> None:
    segmenter = build_segmenter(encoder=SMALL, head=head).eval()
    images = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        plain = segmenter.belief(images).probability
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = segmenter.belief(images)
            assert mixed.probability.dtype == torch.float32
            assert mixed.uncertainty("entropy").dtype == torch.float32
        torch.testing.assert_close(mixed.probability, plain, atol=0.1, rtol=0.1)
        assert segmenter.double().belief(images.double()).probability.dtype == torch.float64


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 8, 8), (8, 8), (1, 1, 1, 8, 8), (2, 2, 8, 8)])
def test_images_of_another_shape_get_a_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"must be \(B, 1, H, W\), got .*data\.channels"):
        constant("bernoulli", 0.0)[0].belief(torch.zeros(shape))


# --- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "unnet"}, "did you mean 'unet'"),
        ({"head": "betta"}, "did you mean 'beta'"),
        ({"head": "beta", "evidence": "relu"}, "relu"),
        *(({"channels": channels}, f"1 or 3 channels, got {channels}") for channels in (0, 2, 4)),
        *(({"prior": prior}, "above 0 and finite") for prior in (0.0, -1.0, math.nan, math.inf)),
    ],
)
def test_parts_that_are_none_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ModelError, UnknownNameError), match=words):
        build_segmenter(**options)


def test_exponential_evidence_is_exact_finite_and_has_a_gradient_everywhere() -> None:
    logits = torch.tensor([-20.0, 0.0, 3.0, 9.9, 10.1, 500.0], dtype=torch.float64, requires_grad=True)
    evidence = EVIDENCE["exp"](logits)
    torch.testing.assert_close(evidence[:4], logits[:4].exp())
    torch.testing.assert_close(evidence[4:], math.exp(10) * (1 + logits[4:] - 10))
    (slope,) = torch.autograd.grad(evidence.sum(), logits)
    assert bool((slope > 0).all())
    torch.testing.assert_close(slope[4:], torch.full((2,), math.exp(10), dtype=torch.float64))


def test_evidence_is_part_of_the_description(tmp_path: Path) -> None:
    torch.manual_seed(0)
    segmenter = build_segmenter(encoder=SMALL, head="beta", evidence="exp").eval()
    images = torch.rand(1, 1, 32, 32)
    logits = segmenter.network((images - 0.5) / 0.25)
    belief = segmenter.belief(images)
    assert isinstance(belief, Beta)
    torch.testing.assert_close(belief.alpha, 1 + logits[:, :1].exp())
    loaded = Segmenter.load(segmenter.save(tmp_path / "model"))
    assert loaded.spec.evidence == "exp"
