"""An honest model passes every check; each way of hiding gradients fails at least one."""

import math

import pytest
import torch
from tests.evaluation.masked_models import Honest, Quantised, Randomised, scene
from tests.evaluation.packs import small_segmenter
from torch import Tensor

from trustseg.attacks import Model
from trustseg.beliefs import Belief
from trustseg.errors import DataError
from trustseg.evaluation.masking_checks import CHECKS, PASSES, masking_checks
from trustseg.evaluation.victim import MaskingCheck
from trustseg.training.cost import PassCounter


def found(model: Model, *only: str, square_steps: int = 200) -> dict[str, MaskingCheck]:
    images, masks = scene()
    results = masking_checks(model, images, masks, eps=6 / 255, square_steps=square_steps, only=only or tuple(CHECKS))
    return {result.name: result for result in results}


@pytest.mark.parametrize("evidential", [False, True])
def test_an_honest_model_is_not_suspected(evidential: bool) -> None:
    results = found(Honest(evidential=evidential))
    assert list(results) == list(CHECKS)
    assert {name: result.figure for name, result in results.items() if result.status == "suspicious"} == {}
    assert [name for name, result in results.items() if result.status == "not_run"] == ["transfer"]
    assert results["unbounded_budget"].figure == 0
    assert results["repeated_forward"].figure == 0


def test_saturated_logits_are_caught() -> None:
    results = found(Honest(lambda z: 400 * z), "saturation", "zero_gradients", "saturated_loss")
    assert {result.status for result in results.values()} == {"suspicious"}


def test_quantised_input_is_caught() -> None:
    results = found(Quantised(), "zero_gradients", "finite_differences")
    assert {result.status for result in results.values()} == {"suspicious"}


def test_a_randomised_forward_is_caught() -> None:
    assert found(Randomised(), "repeated_forward")["repeated_forward"].status == "suspicious"


class Reversed(Honest):
    """Decides as the honest model does, and leads every gradient the wrong way."""

    def forward(self, images: Tensor) -> Belief:
        return super().forward(2 * images.detach() - images)


def test_a_surrogate_with_better_gradients_is_believed() -> None:
    images, masks = scene()
    asked = ("transfer", "square")
    results = masking_checks(Reversed(), images, masks, eps=6 / 255, surrogate=Honest(), square_steps=0, only=asked)
    by_name = {result.name: result for result in results}
    assert by_name["transfer"].status == "suspicious"
    assert by_name["square"].status == "not_run"
    assert math.isnan(by_name["square"].figure)


def test_the_model_is_left_as_found() -> None:
    model = Honest().train()
    state = torch.get_rng_state()
    found(model, "zero_gradients", "restarts", "finite_differences", "attack_forward")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_its_passes_are_about_those_that_a_plan_counts() -> None:
    images, masks = scene(2, 32)
    segmenter = small_segmenter("beta").eval()
    counter = PassCounter(segmenter.network)
    masking_checks(segmenter, images, masks, surrogate=Honest(), square_steps=100)
    work = (counter.forward - 100 * len(images) + 2 * counter.backward) / 3 / len(images)
    assert 0.85 * PASSES < work < 1.35 * PASSES  # fewer where images break at once


def test_only_empty_masks_say_so() -> None:
    images, masks = scene()
    with pytest.raises(DataError, match="all masks are empty"):
        masking_checks(Honest(), images, torch.zeros_like(masks))


def test_results_repeat() -> None:
    drawn = ("restarts", "noise", "square", "finite_differences")
    figures = [[result.figure for result in found(Honest(), *drawn, square_steps=20).values()] for _ in range(2)]
    assert figures[0] == figures[1]
