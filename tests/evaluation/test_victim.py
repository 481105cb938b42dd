"""What checks share: verdicts, attacks that are made once, and scores of what is foreground."""

import math

import pytest
import torch
from tests.evaluation.masked_models import Honest, scene
from torch import Tensor

from trustseg.attacks import ATTACKS, fgsm
from trustseg.beliefs import Bernoulli
from trustseg.evaluation.victim import Victim, judged, not_run


@pytest.mark.parametrize(
    ("figure", "status"), [(0.0, "ok"), (0.5, "ok"), (0.6, "suspicious"), (math.nan, "suspicious")]
)
def test_verdicts(figure: float, status: str) -> None:
    assert judged("name", figure, 0.5, "meaning").status == status


def test_what_was_not_run_says_why() -> None:
    result = not_run("name", 0.5, "no surrogate")
    assert (result.status, result.meaning) == ("not_run", "not run: no surrogate")
    assert math.isnan(result.figure)


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


def test_its_attack_is_that_of_the_dictionary() -> None:
    images, masks = scene(2)
    model = Honest()
    assert torch.equal(Victim(model, images, masks, 0.1).attacked("fgsm"), fgsm(model, images, masks, eps=0.1))


def test_the_mean_dice_leaves_out_what_has_nothing_to_find() -> None:
    masks = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]).view(3, 1, 1, 2)
    victim = Victim(lambda images: Bernoulli(images), torch.ones(3, 1, 1, 2), masks, 0.1)
    assert victim.positive.tolist() == [True, True, False]
    assert victim.dice(victim.images).tolist() == pytest.approx([1, 2 / 3, 0])
    assert victim.mean_dice(victim.images) == pytest.approx((1 + 2 / 3) / 2)
