"""An honest model passes every check; each way of hiding gradients fails at least one."""

import math

import pytest
import torch
from tests.evaluation.masked_models import Honest, Quantised, Randomised, scene
from tests.evaluation.packs import small_segmenter
from torch import Tensor, nn

from trustseg.attacks import ATTACKS, Model
from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.errors import DataError
from trustseg.evaluation.gradient_checks import (
    attack_forward,
    finite_differences,
    repeated_forward,
    saturation,
    zero_gradients,
)
from trustseg.evaluation.masking_checks import CHECKS, PASSES, masking_checks
from trustseg.evaluation.victim import MaskingCheck, Victim, verdict_on
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
    assert verdict_on(figure, 0.5, "meaning").status == status


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


@pytest.mark.parametrize(("scores", "status"), [((0.6, 0.58), "ok"), ((0.6, 0.56), "suspicious")])
def test_an_attack_that_stops_too_early_is_caught(
    monkeypatch: pytest.MonkeyPatch, scores: tuple[float, float], status: str
) -> None:
    asked = []

    def dice(victim: Victim, images: Tensor) -> float:
        return scores[int(images.item()) == 300]

    def attacked(victim: Victim, name: str, **options: float | str) -> Tensor:
        asked.append((name, options["objective"]))
        return torch.tensor(options["steps"])

    monkeypatch.setattr(Victim, "mean_dice", dice)
    monkeypatch.setattr(Victim, "attacked", attacked)
    result = CHECKS["still_falling"](Victim(Honest(), *scene(1), 0.1))
    assert asked == [("apgd", "soft_dice")] * 2
    assert result.status == status
    assert result.figure == pytest.approx(scores[0] - scores[1])


@pytest.mark.parametrize(
    ("worse", "by", "figure", "limit", "status"),
    [
        (0, 0.0, 0.0, 0.02, "ok"),
        (9, 0.002, 0.0, 0.02, "ok"),  # nine images, by a pixel each
        (1, 0.02, 0.01, 0.02, "ok"),  # one image in a hundred
        (3, 0.02, 0.03, 0.02, "suspicious"),
        (1, 0.7, 0.007, 0.005, "suspicious"),  # one image, and that much
    ],
)
def test_another_attack_may_neither_win_often_nor_by_much(
    monkeypatch: pytest.MonkeyPatch, worse: int, by: float, figure: float, limit: float, status: str
) -> None:
    own = torch.full((100,), 0.8, dtype=torch.float64)
    other = own - by * (torch.arange(100) < worse)
    monkeypatch.setattr(Victim, "attacked", lambda victim, name, **options: torch.zeros(()))
    monkeypatch.setattr(Victim, "dice", lambda victim, images: other if len(images.shape) else own)
    victim = Victim(Honest(), torch.zeros(100, 1, 2, 2), torch.ones(100, 1, 2, 2), 0.1, surrogate=Honest())
    result = CHECKS["transfer"](victim)
    assert (result.status, result.threshold) == (status, limit)
    assert result.figure == pytest.approx(figure)


class Sly(Honest):
    """Shows an attacker, whose passes have gradients, another network than it predicts with."""

    def forward(self, images: Tensor) -> Belief:
        return super().forward(images - 0.01 if torch.is_grad_enabled() else images)


def test_a_pass_that_is_another_under_attack_is_caught() -> None:
    images, masks = scene(2)
    result = attack_forward(Victim(Sly(), images, masks, 0.1))
    assert result.status == "suspicious"
    result = attack_forward(Victim(Honest(), images, masks, 0.1, deployed=Honest(lambda z: 2 * z)))
    assert result.status == "suspicious"  # what is attacked is not what is deployed


class Blind(nn.Module):
    """Looks at the upper rows of an image only."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, images: Tensor) -> Belief:
        seen = images.clone()
        seen[..., self.rows :, :] = images[..., self.rows :, :].detach()
        return Bernoulli(seen - 0.5)


@pytest.mark.parametrize(("rows", "figure"), [(200, 0.0), (198, 0.0), (197, 1.0)])
def test_one_pixel_in_a_hundred_may_have_no_gradient(rows: int, figure: float) -> None:
    images = torch.rand(3, 1, 200, 2, generator=torch.Generator().manual_seed(0))
    result = zero_gradients(Victim(Blind(rows), images, (images > 0.5).float(), 0.1))
    assert result.figure == figure


def test_a_gradient_that_is_off_by_a_factor_is_off_by_as_much() -> None:
    class Halved(nn.Module):
        def forward(self, images: Tensor) -> Belief:
            return Bernoulli(images / 2 + images.detach() / 2)

    images, masks = scene(2)
    assert finite_differences(Victim(Halved(), images, masks, 0.1)).figure == pytest.approx(0.5, abs=1e-6)
    assert finite_differences(Victim(Honest(), images, masks, 0.1)).figure < 1e-6
    plain = finite_differences(Victim(lambda seen: Bernoulli(seen), images, masks, 0.1))
    assert plain.status == "not_run"


def test_what_two_passes_differ_by() -> None:
    images, masks = scene(2)
    assert repeated_forward(Victim(Honest(), images, masks, 0.1)).figure == 0
    assert repeated_forward(Victim(Randomised(), images, masks, 0.1)).figure > 1e-3


def test_the_share_of_pixels_that_are_too_sure() -> None:
    logits = torch.tensor([[[[17.0, -17.0, 3.0, 16.0]]]])
    found = saturation(Victim(lambda _: Bernoulli(logits), torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0.1))
    assert (found.figure, found.status) == (0.5, "suspicious")
    alpha = torch.tensor([[[[2e4, 3.0, 3.0, 3.0]]]])
    found = saturation(Victim(lambda _: Beta(alpha, alpha), torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0.1))
    assert found.figure == 0.25
