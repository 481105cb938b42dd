"""MC dropout and deep ensembles against Monte Carlo, single members and closed forms."""

import math
from pathlib import Path

import pytest
import torch
from tests.models.built import SMALL, build
from torch import Tensor, nn

from trustseg.attacks import isolated, pgd
from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError, ModelError, ShapeError
from trustseg.models import ARCHITECTURES, DeepEnsemble, MCDropout, Segmenter, build_segmenter, mixtures, with_dropout
from trustseg.models.mixtures import dropout_layers
from trustseg.models.spec import SegmenterSpec
from trustseg.randomness import derived_generator

IMAGES = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))


class Summed(nn.Module):
    """The sum of eight channels that all equal the image, behind dropout: binomial by hand."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.normalisation = nn.BatchNorm2d(1)

    def forward(self, images: Tensor) -> Tensor:
        kept: Tensor = self.layer(images.expand(-1, 8, -1, -1))
        total: Tensor = self.normalisation(kept.sum(dim=1, keepdim=True))
        return total


def summed(layer: nn.Module) -> Segmenter:
    spec = SegmenterSpec("unet", "resnet18", "bernoulli", size=32, mean=(0.0,), deviation=(1.0,))
    return Segmenter(spec, Summed(layer)).eval()


# --- MC dropout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Dropout2d(0.25), nn.Dropout(0.25), nn.Dropout2d(0.25, inplace=True)])
def test_mean_and_variance_are_those_of_the_binomial(layer: nn.Module) -> None:
    ones = torch.ones(1, 1, 32, 32)
    with torch.no_grad():
        belief = MCDropout(summed(layer), samples=1000).belief(ones)
    logits = torch.stack([member.log_odds[0, 0, 3, 4] for member in belief.members])
    # Each of 8 channels is 4/3 with probability 3/4, else 0: mean 8, variance 8 * 1/3; batch norm divides by sqrt(1+e).
    assert logits.mean().item() == pytest.approx(8, abs=4 * math.sqrt(8 / 3 / 1000))
    assert logits.var().item() == pytest.approx(8 / 3, rel=0.2)
    grid = set((logits.double() * math.sqrt(1 + 1e-5) / (4 / 3)).round(decimals=3).tolist())
    assert grid <= set(range(9))


def test_the_decomposition_is_that_of_the_members() -> None:
    with torch.no_grad():
        belief = MCDropout(build(dropout=0.3), samples=5).belief(IMAGES)
    p = torch.stack([member.probability for member in belief.members])
    within = torch.stack([member.epistemic_variance() for member in belief.members if isinstance(member, Beta)])
    epistemic = p.var(dim=0, unbiased=False) + within.mean(dim=0)
    torch.testing.assert_close(belief.probability, p.mean(dim=0))
    torch.testing.assert_close(belief.epistemic_variance(), epistemic)
    torch.testing.assert_close(belief.variance(), p.mean(dim=0) * (1 - p.mean(dim=0)))
    torch.testing.assert_close(belief.aleatoric_variance() + belief.epistemic_variance(), belief.variance())
    assert float(p.var(dim=0).mean()) > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_samples_after_training_and_only_through_dropout(architecture: str) -> None:
    segmenter = build(architecture)
    state = {name: value.clone() for name, value in segmenter.state_dict().items()}
    model = MCDropout(segmenter, samples=2, rate=0.3)
    with torch.no_grad():
        first, second = (member.probability for member in model.belief(IMAGES).members)
    assert not torch.equal(first, second)
    with torch.no_grad():  # no hook stays behind
        assert torch.equal(model.segmenter.belief(IMAGES).probability, model.segmenter.belief(IMAGES).probability)
    assert all(torch.equal(value, state[name]) for name, value in segmenter.state_dict().items())
    assert all(torch.equal(value, state[name]) for name, value in model.segmenter.state_dict().items())


def test_the_belief_depends_on_the_seed_alone() -> None:
    model, same, other = (MCDropout(build(dropout=0.3), samples=2, seed=seed) for seed in (0, 0, 1))
    with torch.no_grad():
        before = torch.random.get_rng_state()
        belief = model.belief(IMAGES).probability
        assert torch.equal(before, torch.random.get_rng_state())
        torch.manual_seed(99)
        assert torch.equal(model.belief(IMAGES).probability, belief)
        assert torch.equal(same.belief(IMAGES).probability, belief)
        assert not torch.equal(other.belief(IMAGES).probability, belief)
        alone = torch.cat([model.belief(image).probability for image in IMAGES[:, None]])
        torch.testing.assert_close(alone, belief)
        more = MCDropout(build(dropout=0.3), samples=3).belief(IMAGES)
        torch.testing.assert_close(more.members[1].probability, model.belief(IMAGES).members[1].probability)


@pytest.mark.parametrize("layer", [nn.Dropout2d(0.25), nn.Dropout(0.25)])
def test_masks_are_drawn_once_for_a_shape(monkeypatch: pytest.MonkeyPatch, layer: nn.Module) -> None:
    drawn: list[int] = []

    def counted(seed: int, *stream: str | int) -> torch.Generator:
        drawn.append(len(drawn))
        return derived_generator(seed, *stream)

    monkeypatch.setattr(mixtures, "derived_generator", counted)
    model, small = MCDropout(summed(layer), samples=3), torch.rand(2, 1, 16, 16)
    with torch.inference_mode():
        first = model.belief(IMAGES).probability.clone()
    assert len(drawn) == 3
    assert torch.equal(model.belief(IMAGES[:1]).probability, first[:1])  # also with gradients, through images
    assert torch.autograd.grad(model.belief(IMAGES.requires_grad_()).probability.sum(), IMAGES)[0].any()
    IMAGES.requires_grad_(False)
    assert len(drawn) == 3
    expected = MCDropout(summed(layer), samples=3).belief(small).probability
    assert torch.equal(model.belief(small).probability, expected)
    assert torch.equal(model.belief(IMAGES).probability, first)


def test_it_samples_inside_an_attack_and_stays_in_eval_mode() -> None:
    model = MCDropout(build(dropout=0.3), samples=2).train()
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        expected = model.belief(IMAGES).probability
        with isolated(model):
            assert torch.equal(model(IMAGES).probability, expected)
    masks = (IMAGES > 0.7).float()
    attacked = pgd(model, IMAGES, masks, eps=8 / 255, steps=2, generator=torch.Generator().manual_seed(0))
    again = pgd(model, IMAGES, masks, eps=8 / 255, steps=2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(attacked, again)
    assert not torch.equal(attacked, IMAGES)


def test_a_segmenter_put_into_train_mode_is_refused() -> None:
    model = MCDropout(build(dropout=0.3))
    model.segmenter.train()
    with pytest.raises(ModelError, match=r"eval mode; call segmenter\.eval\(\)"):
        model.belief(IMAGES)


@pytest.mark.parametrize("segmenter", [build(), summed(nn.Dropout2d(0.0)), summed(nn.Identity())])
def test_a_model_without_dropout_says_what_to_do(segmenter: Segmenter) -> None:
    with pytest.raises(ModelError, match=r"unet on .* has no dropout layer.*model\.dropout=0\.2, or .* rate"):
        MCDropout(segmenter)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ModelError, match="at least 1 sample, got 0"):
        MCDropout(build(dropout=0.3), samples=0)
    for rate in (-0.1, 0.0, 1.0, math.nan):
        with pytest.raises(ModelError, match=f"between 0 and 1, got {rate}"):
            with_dropout(build(), rate)
    with pytest.raises(ModelError, match=r"between 0 and 1, got 1\.5"):
        build_segmenter(dropout=1.5)
    with pytest.raises(ModelError, match="a Summed has no segmentation_head"):
        with_dropout(summed(nn.Dropout()), 0.2)
    with pytest.raises(ShapeError, match=r"must be \(B, 1, H, W\)"):
        MCDropout(build(dropout=0.3)).belief(torch.zeros(1, 3, 32, 32))


# --- placing dropout, saving it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_is_placed_once_and_changes_no_name(architecture: str) -> None:
    segmenter = build(architecture)
    twice = with_dropout(with_dropout(segmenter, 0.1), 0.4)
    rates = [layer.p for layer in twice.modules() if isinstance(layer, nn.Dropout2d | nn.Dropout)]
    assert rates.count(0.4) == 1
    assert 0.1 not in rates
    assert list(twice.state_dict()) == list(segmenter.state_dict())
    assert (segmenter.spec.dropout, twice.spec.dropout) == (0.0, 0.4)
    assert not any(module.training for module in twice.modules())
    with torch.no_grad():
        torch.testing.assert_close(twice.belief(IMAGES).log_odds, segmenter.belief(IMAGES).log_odds)


@pytest.mark.parametrize("architecture", ["unet", "fcn"])
def test_a_saved_model_keeps_its_dropout(tmp_path: Path, architecture: str) -> None:
    segmenter = build(architecture, dropout=0.3)
    again = Segmenter.load(segmenter.save(tmp_path))
    assert again.spec.dropout == 0.3
    with torch.no_grad():
        expected = MCDropout(segmenter, samples=2).belief(IMAGES).probability
        torch.testing.assert_close(MCDropout(again, samples=2).belief(IMAGES).probability, expected)


# --- deep ensembles --------------------------------------------------------------------------------------------------


def test_an_ensemble_of_one_is_its_member() -> None:
    segmenter = build()
    with torch.no_grad():
        alone, mixture = segmenter.belief(IMAGES), DeepEnsemble([segmenter]).belief(IMAGES)
    torch.testing.assert_close(mixture.probability, alone.probability)
    for measure in Mixture.measures:
        torch.testing.assert_close(mixture.uncertainty(measure), alone.uncertainty(measure), atol=1e-6, rtol=1e-4)


def test_members_may_differ_in_head_and_architecture() -> None:
    members = [build(head="bernoulli"), build("fpn", head="beta")]
    with torch.no_grad():
        belief = DeepEnsemble(members).belief(IMAGES)
        p = torch.stack([member.belief(IMAGES).probability for member in members])
    assert [type(member) for member in belief.members] == [Bernoulli, Beta]
    torch.testing.assert_close(belief.probability, p.mean(dim=0))


def test_members_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="at least one segmenter, got none"):
        DeepEnsemble([])
    grey, colour, small = (
        build_segmenter(encoder=SMALL, channels=channels, size=size) for channels, size in ((1, 224), (3, 224), (1, 96))
    )
    with pytest.raises(ModelError, match=r"model 3 of the ensemble takes 3 channels at 224 px, the first 1 at 224 px"):
        DeepEnsemble([grey, grey, colour])
    with pytest.raises(ModelError, match=r"model 2 of the ensemble takes 1 channels at 96 px.*data\.size"):
        DeepEnsemble([grey, small])
    with pytest.raises(BeliefError, match="a Bernoulli or a Beta, got a Mixture"):
        DeepEnsemble([MCDropout(build(dropout=0.3), samples=2)]).belief(IMAGES)


def test_weights_tell_models_apart() -> None:
    segmenter = build(dropout=0.3)
    same = MCDropout(segmenter, samples=2).weights()
    assert same == MCDropout(segmenter, samples=2).weights()
    sampled = MCDropout(segmenter, samples=3), MCDropout(segmenter, samples=2, seed=1)
    ensembles = DeepEnsemble([segmenter]), DeepEnsemble([segmenter] * 2)
    assert len({same, segmenter.weights(), *(model.weights() for model in (*sampled, *ensembles))}) == 6


def test_dropout_layers_are_those_that_drop_something() -> None:
    layers = nn.Sequential(nn.Dropout(0.0), nn.Dropout2d(0.3), nn.Dropout(1.0), nn.Sequential(nn.Dropout(0.5)))
    assert [name for name, _ in dropout_layers(layers)] == ["1", "3.0"]
