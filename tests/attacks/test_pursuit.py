import torch
from torch import Tensor

from trustseg.attacks.pursuit import Pursuit
from trustseg.beliefs import Belief, Bernoulli


def brightness(belief: Belief) -> Tensor:
    return belief.log_odds.mean(dim=(1, 2, 3))


def pursued() -> Pursuit:
    """Return a pursuit of two images of grey 0.5, whose score is their mean."""
    images = torch.full((2, 1, 2, 3), 0.5)
    return Pursuit(Bernoulli, images, torch.ones_like(images), eps=0.5, score=brightness, steps=4)


def up(belief: Belief, masks: Tensor, scores: Tensor) -> Tensor:
    return scores


def test_keeps_the_worthiest_iterate_and_not_the_last() -> None:
    pursuit = pursued()
    pursuit.run(up, lambda belief, masks, scores: -(scores - 0.75).abs(), stride=0.25)  # passes 0.625, 0.75 ... 1
    assert pursuit.result()[:, 0, 0, 0].tolist() == [0.75, 0.75]


def test_keeps_nothing_that_is_not_admissible_and_the_first_of_equals() -> None:
    pursuit = pursued()
    pursuit.run(up, lambda belief, masks, scores: torch.where(scores > 0.5, -torch.inf, 0.0), stride=0.25)
    assert torch.equal(pursuit.result(), torch.full((2, 1, 2, 3), 0.5))
    pursuit.run(up, lambda belief, masks, scores: torch.zeros(2), stride=0.25)
    assert torch.equal(pursuit.result(), torch.full((2, 1, 2, 3), 0.5))


def test_a_second_run_starts_anew_and_keeps_the_best_of_both() -> None:
    pursuit = pursued()
    pursuit.run(lambda belief, masks, scores: -scores, up, stride=0.25)
    assert pursuit.result().min() == 0.5
    pursuit.run(up, up, stride=0.125)
    assert pursuit.result().min() == 0.75
