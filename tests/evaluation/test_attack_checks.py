"""When two attacks disagree by too much: limits from either side."""

import pytest
import torch
from tests.evaluation.masked_models import Honest, scene
from torch import Tensor

from trustseg.evaluation.masking_checks import CHECKS
from trustseg.evaluation.victim import Victim


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
