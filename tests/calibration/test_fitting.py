"""Fits against known parameters, an exact minimiser and their own promises."""

import hashlib
import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.calibration import MAPS, fit_calibration
from trustseg.calibration.model import LARGEST_FACTOR
from trustseg.errors import BeliefError, ConfigError, DataError, ShapeError, UnknownNameError
from trustseg.losses import binary_cross_entropy

KNOWN = {
    "temperature_scaling": {"temperature": 2.5},
    "beta_calibration": {"slope_low": 0.6, "slope_high": 1.7, "offset": 0.4},
    "evidence_scaling": {"scale": 0.3},
}


def draw(method: str, *, images: int = 40, prior: float = 1.0) -> tuple[Belief, Tensor]:
    """Return a belief of the kind that the method takes, and labels drawn from the known calibrated one."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, images, 1, 64, 65, generator=generator)
    evidence = (2 * noise).exp()
    belief: Belief = Bernoulli(3 * noise[0] - 1)
    if method == "evidence_scaling":
        belief = Beta(prior + 3 * evidence[0], prior + 3 * evidence[1], prior)
    chance = MAPS[method](belief, *KNOWN[method].values()).probability
    return belief, torch.bernoulli(chance, generator=generator)


def part(belief: Belief, some: slice) -> Belief:
    if isinstance(belief, Beta):
        return Beta(belief.alpha[some], belief.beta[some], belief.prior)
    return Bernoulli(belief.log_odds[some])


def patients(images: int) -> list[str]:
    return [f"P{k // 2}" for k in range(images)]


@pytest.mark.parametrize("method", MAPS)
def test_known_parameters_are_recovered(method: str) -> None:
    belief, masks = draw(method)
    found = fit_calibration([(belief, masks)], method=method, patients=patients(40))
    assert dict(found.parameters) == pytest.approx(KNOWN[method], rel=0.03, abs=0.02)
    assert found.nll_after < found.nll_before
    after = binary_cross_entropy(found.apply(belief), masks).double().mean().item()
    assert binary_cross_entropy(belief, masks).double().mean().item() == pytest.approx(found.nll_before, rel=2e-4)
    assert after == pytest.approx(found.nll_after, rel=2e-4)


@pytest.mark.parametrize("prior", [0.1, 1.0])
def test_evidence_scaling_equals_the_exact_minimum_over_all_pixels(prior: float) -> None:
    belief, masks = draw("evidence_scaling", prior=prior)
    assert isinstance(belief, Beta)
    side = 2 * masks.double() - 1

    def nll(log_scale: float) -> float:
        alpha, beta = (prior + math.exp(log_scale) * (x.double() - prior) for x in (belief.alpha, belief.beta))
        return softplus(-side * (alpha.log() - beta.log())).mean().item()

    exact = minimize_scalar(nll, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
    found = fit_calibration([(belief, masks)], method="evidence_scaling", patients=patients(40))
    assert found.parameters["scale"] == pytest.approx(math.exp(exact.x), rel=2e-3)
    assert found.nll_after == pytest.approx(exact.fun, rel=1e-4)


def test_temperature_equals_the_exact_minimum_over_all_pixels() -> None:
    belief, masks = draw("temperature_scaling")
    z, side = belief.log_odds.double(), 2 * masks.double() - 1
    exact = minimize_scalar(lambda s: softplus(-side * z * s).mean().item(), bounds=(0.1, 2), method="bounded")
    found = fit_calibration([(belief, masks)], method="temperature_scaling", patients=patients(40))
    assert found.parameters["temperature"] == pytest.approx(1 / exact.x, rel=1e-4)
    assert found.nll_after == pytest.approx(exact.fun, rel=1e-6)


@pytest.mark.parametrize("method", MAPS)
def test_batches_in_any_split_and_order_give_one_answer(method: str) -> None:
    belief, masks = draw(method, images=12)
    whole = fit_calibration([(belief, masks)], method=method, patients=patients(12))
    cuts = [slice(7, 12), slice(0, 1), slice(1, 7)]
    parts = ((part(belief, cut), masks[cut]) for cut in cuts)
    again = fit_calibration(parts, method=method, patients=patients(12)[::-1])
    assert dict(again.parameters) == pytest.approx(dict(whole.parameters), rel=1e-6)
    assert (again.images, again.patients, again.patients_hash) == (12, 6, whole.patients_hash)
    assert whole.patients_hash == hashlib.sha256(b"P0\nP1\nP2\nP3\nP4\nP5").hexdigest()[:16]
    assert whole.split == "validation"


@pytest.mark.parametrize("method", MAPS)
@pytest.mark.parametrize("seed", range(4))
def test_three_images_of_noise_are_never_made_worse(method: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = 4 * torch.randn(2, 3, 1, 5, 7, generator=generator)
    belief: Belief = (
        Beta(1 + noise[0].exp(), 1 + noise[1].exp()) if method == "evidence_scaling" else Bernoulli(noise[0])
    )
    masks = torch.bernoulli(torch.full((3, 1, 5, 7), 0.4), generator=generator)
    found = fit_calibration([(belief, masks)], method=method, patients=["a", "b", "c"])
    assert found.nll_after <= found.nll_before
    after = binary_cross_entropy(found.apply(belief), masks).mean().item()
    assert after <= binary_cross_entropy(belief, masks).mean().item() * (1 + 1e-3)


@pytest.mark.parametrize("sureness", [0.1, 1.0, 4.0, 12.0])  # the likelihood is flat far from the bound, too
def test_separable_labels_end_at_the_bound(sureness: float) -> None:
    z = sureness * torch.tensor([2.0, 1.0, -1.0, -3.0]).view(1, 1, 2, 2)
    found = fit_calibration([(Bernoulli(z), (z > 0).float())], method="temperature_scaling", patients=["a"])
    assert found.parameters["temperature"] == pytest.approx(1 / LARGEST_FACTOR)
    assert found.at_limit == ("temperature",)
    wrong = fit_calibration([(Bernoulli(z), (z < 0).float())], method="temperature_scaling", patients=["a"])
    assert wrong.parameters["temperature"] == pytest.approx(LARGEST_FACTOR)
    assert wrong.at_limit == ("temperature",)


def test_scores_all_equal_are_calibrated_to_the_rate() -> None:
    z = torch.full((1, 1, 4, 5), 2.0)
    masks = torch.zeros(1, 1, 4, 5)
    masks[..., 0, :] = 1
    found = fit_calibration([(Bernoulli(z), masks)], method="beta_calibration", patients=["a"])
    assert found.apply(Bernoulli(z)).probability.flatten()[0].item() == pytest.approx(0.25, abs=1e-4)


def test_infinite_log_odds_are_taken_as_very_large() -> None:
    z = torch.tensor([math.inf, -math.inf, 1.0, -1.0]).view(1, 1, 2, 2)
    masks = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 2, 2)
    found = fit_calibration([(Bernoulli(z), masks)], method="temperature_scaling", patients=["a"])
    assert math.isfinite(found.nll_after)
    assert found.nll_after <= found.nll_before


@pytest.mark.parametrize("method", MAPS)
def test_it_fits_where_gradients_are_off(method: str) -> None:
    belief, masks = draw(method, images=4)
    expected = fit_calibration([(belief, masks)], method=method, patients=patients(4))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            copied = Beta(belief.alpha * 1, belief.beta * 1) if isinstance(belief, Beta) else part(belief, slice(4))
            assert fit_calibration([(copied, masks * 1)], method=method, patients=patients(4)) == expected


@pytest.mark.parametrize("split", ["test", "internal_test", "train", ""])
def test_only_images_kept_for_it_are_fitted_on(split: str) -> None:
    belief, masks = draw("temperature_scaling", images=2)
    with pytest.raises(ConfigError, match=f"validation or calibration split, got '{split}'"):
        fit_calibration([(belief, masks)], method="temperature_scaling", patients=["a", "b"], split=split)


ONES, ZEROS = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
HALF = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("batches", "error", "words"),
    [
        ([(Bernoulli(ZEROS), ONES)], DataError, "4 foreground and 0 background pixels, calibration needs both"),
        ([(Bernoulli(ZEROS), ZEROS)], DataError, "0 foreground and 4 background"),
        ([(Bernoulli(ZEROS), 255 * HALF)], DataError, "only 0 and 1"),
        ([(Bernoulli(ZEROS), HALF * math.nan)], DataError, "0 foreground and 0 background"),
        ([(Bernoulli(ZEROS), HALF[0])], ShapeError, "must have one shape"),
        ([(Bernoulli(ZEROS * math.nan), HALF)], BeliefError, "holds NaN"),
        ([(Bernoulli(ZEROS), HALF)] * 2, DataError, "1 patients for 2 images"),
        ([], DataError, "1 patients for 0 images"),
        ([(Beta(ONES, ONES), HALF)], BeliefError, "takes a Bernoulli belief, got a Beta"),
        ([(Mixture([Bernoulli(ZEROS)]), HALF)], BeliefError, "members of a mixture one by one"),
    ],
)
def test_bad_input_gets_a_sentence(batches: list[tuple[Belief, Tensor]], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        fit_calibration(batches, method="temperature_scaling", patients=["a"])


def test_betas_of_different_prior_weights_are_not_mixed() -> None:
    batches = [(Beta(2 * ONES, 2 * ONES, prior), HALF) for prior in (1.0, 0.1)]
    with pytest.raises(BeliefError, match=r"prior weights 1 and 0\.1"):
        fit_calibration(batches, method="evidence_scaling", patients=["a", "b"])


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'temperature_scaling'"):
        fit_calibration([], method="temperature_scalin", patients=[])
