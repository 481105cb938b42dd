"""An honest model raises no suspicion; each way of hiding gradients raises at least one."""

import math
from collections.abc import Callable

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from trustseg.attacks import Model
from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.errors import DataError
from trustseg.evaluation.suspicions import CHECKS, PASSES, suspicions
from trustseg.evaluation.victim import Suspicion, Victim
from trustseg.training.cost import PassCounter


class Honest(nn.Module):
    """Finds what is brighter than its surroundings: smooth, so its gradients say what it does."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda logits: logits, *, evidential: bool = False) -> None:
        super().__init__()
        self.change = change
        self.evidential = evidential

    def forward(self, images: Tensor) -> Belief:
        local = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        logits = self.change(20 * torch.tanh(2 * (local - 0.5)))
        if self.evidential:
            return Beta(1 + torch.nn.functional.softplus(logits), 1 + torch.nn.functional.softplus(-logits))
        return Bernoulli(logits)


def scene(count: int = 6, side: int = 24) -> tuple[Tensor, Tensor]:
    """Return images of discs and their masks; the contrast about the decision fades to 0 at the rim of the disc."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    radii = torch.linspace(4, 9, count).view(-1, 1, 1)
    inside = (radii - ((rows - side / 2) ** 2 + (columns - side / 2) ** 2).sqrt())[:, None]
    masks = (inside > 0).float()
    images = 0.5 + torch.tanh(inside / 4) * 20 / 255 + 0.005 * torch.randn(masks.shape, generator=generator)
    return images.clamp(0, 1), masks


def found(model: Model, *only: str, square_steps: int = 200) -> dict[str, Suspicion]:
    images, masks = scene()
    results = suspicions(model, images, masks, eps=6 / 255, square_steps=square_steps, only=only or tuple(CHECKS))
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


class Quantised(Honest):
    """Rounds its input, passing gradients straight through at a few pixels only: most have none."""

    def forward(self, images: Tensor) -> Belief:
        steps = (images * 8).round() / 8
        return super().forward(steps + 0.02 * (images - images.detach()) * (images > 0.53))


def test_quantised_input_is_caught() -> None:
    results = found(Quantised(), "zero_gradients", "finite_differences")
    assert {result.status for result in results.values()} == {"suspicious"}


class Randomised(Honest):
    """Adds noise to its input at every pass, drawn from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: Tensor) -> Belief:
        return super().forward(images + 0.1 * torch.randn(images.shape, generator=self.generator).to(images))

    def __deepcopy__(self, memo: object) -> "Randomised":
        return Randomised()


def test_a_randomised_forward_is_caught() -> None:
    assert found(Randomised(), "repeated_forward")["repeated_forward"].status == "suspicious"


class Reversed(Honest):
    """Decides as the honest model does, and leads every gradient the wrong way."""

    def forward(self, images: Tensor) -> Belief:
        return super().forward(2 * images.detach() - images)


def test_a_surrogate_with_better_gradients_is_believed() -> None:
    images, masks = scene()
    asked = ("transfer", "square")
    results = suspicions(Reversed(), images, masks, eps=6 / 255, surrogate=Honest(), square_steps=0, only=asked)
    by_name = {result.name: result for result in results}
    assert by_name["transfer"].status == "suspicious"
    assert by_name["square"].status == "not_run"
    assert math.isnan(by_name["square"].figure)


class Sly(Honest):
    """Shows an attacker, whose passes have gradients, another network than it predicts with."""

    def forward(self, images: Tensor) -> Belief:
        return super().forward(images - 0.01 if torch.is_grad_enabled() else images)


def test_a_pass_that_is_another_under_attack_is_caught() -> None:
    images, masks = scene(2)
    (result,) = suspicions(Sly(), images, masks, only=["attack_forward"])
    assert (result.name, result.status) == ("attack_forward", "suspicious")
    (result,) = suspicions(Honest(), images, masks, only=["attack_forward"], deployed=Honest(lambda z: 2 * z))
    assert result.status == "suspicious"  # what is attacked is not what is deployed


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


def test_the_model_is_left_as_found() -> None:
    model = Honest().train()
    state = torch.get_rng_state()
    found(model, "zero_gradients", "restarts", "finite_differences", "attack_forward")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_its_passes_are_about_those_that_a_plan_counts() -> None:
    images, masks = scene(2, 32)
    for head in ("bernoulli", "beta"):
        segmenter = small_segmenter(head).eval()
        counter = PassCounter(segmenter.network)
        suspicions(segmenter, images, masks, surrogate=Honest(), square_steps=100)
        work = (counter.forward - 100 * len(images) + 2 * counter.backward) / 3 / len(images)
        assert 0.85 * PASSES < work < 1.35 * PASSES  # fewer where images break at once


def test_only_empty_masks_say_so() -> None:
    images, masks = scene()
    with pytest.raises(DataError, match="all masks are empty"):
        suspicions(Honest(), images, torch.zeros_like(masks))


def test_results_repeat() -> None:
    drawn = ("restarts", "noise", "square", "finite_differences")
    figures = [[result.figure for result in found(Honest(), *drawn, square_steps=20).values()] for _ in range(2)]
    assert figures[0] == figures[1]
