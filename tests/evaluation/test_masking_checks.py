"""An honest model passes every check; each way of hiding gradients fails at least one."""

import math

import pytest
import torch
from tests.evaluation.masked_models import Honest, Quantised, Randomised, scene
from tests.evaluation.packs import small_segmenter
from torch import Tensor

from trustseg.attacks import ATTACKS, Model
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import DataError
from trustseg.evaluation.masking_checks import CHECKS, PASSES, masking_checks
from trustseg.evaluation.victim import MaskingCheck, Victim, judged
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


@pytest.mark.parametrize(
    ("model", "caught_by"),
    [
        (Honest(lambda z: 400 * z), ("saturation", "zero_gradients", "saturated_loss")),
        (Quantised(), ("zero_gradients", "finite_differences")),
        (Randomised(), ("repeated_forward",)),
    ],
)
def test_a_model_that_hides_its_gradients_is_caught(model: Honest, caught_by: tuple[str, ...]) -> None:
    assert {result.status for result in found(model, *caught_by).values()} == {"suspicious"}


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


@pytest.mark.parametrize(
    ("figure", "status"), [(0.0, "ok"), (0.5, "ok"), (0.6, "suspicious"), (math.nan, "suspicious")]
)
def test_verdicts(figure: float, status: str) -> None:
    assert judged("name", figure, 0.5, "meaning").status == status


def test_an_attack_is_made_once_for_the_same_options(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(model: object, images: Tensor, masks: Tensor, **options: object) -> Tensor:
        calls.append(options["eps"])
        return images

    monkeypatch.setitem(ATTACKS, "fgsm", counted)
    victim = Victim(Honest(), *scene(2), 0.1)
    victim.attacked("fgsm")
    victim.attacked("fgsm", eps=0.1)
    victim.attacked("fgsm", eps=0.2)
    assert calls == [0.1, 0.2]


def test_the_mean_dice_leaves_out_what_has_nothing_to_find() -> None:
    masks = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]).view(3, 1, 1, 2)
    victim = Victim(lambda images: Bernoulli(images), torch.ones(3, 1, 1, 2), masks, 0.1)
    assert victim.positive.tolist() == [True, True, False]
    assert victim.dice(victim.images).tolist() == pytest.approx([1, 2 / 3, 0])
    assert victim.mean_dice(victim.images) == pytest.approx((1 + 2 / 3) / 2)
