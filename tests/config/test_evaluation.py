"""What may be asked of an evaluation beyond the names of attacks."""

import pytest

from trustseg.config import load_run
from trustseg.errors import ConfigError


def test_the_smallest_budgets_are_not_searched_unless_a_dice_is_named() -> None:
    assert load_run(None, []).evaluation.minimal.tau is None
    minimal = load_run(None, ["evaluation.minimal.tau=0.5", "evaluation.minimal.eps=[1/255, 2/255]"]).evaluation.minimal
    assert minimal.tau == 0.5
    assert minimal.eps == pytest.approx((1 / 255, 2 / 255))
    assert minimal.eps[0] < minimal.eps[1]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tau=1", "tau=1; a number >= 0, < 1 or null was expected"),
        ("tau=-0.1", "a number >= 0, < 1 or null was expected"),
        ("eps=[2/255, 1/255]", "rising budgets above 0 and up to 1 were expected"),
        ("eps=[0, 1/255]", "rising budgets above 0"),
        ("eps=[0.5, 1.5]", "up to 1"),
        ("eps=[]", "a list of numbers >= 0"),
        ("steps=0", "an integer >= 1 was expected"),
        ("halvings=-1", "an integer >= 0 was expected"),
    ],
)
def test_what_is_no_ladder_is_refused(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_run(None, [f"evaluation.minimal.{setting}"])


def test_a_surrogate_is_a_path_or_nothing() -> None:
    assert load_run(None, []).evaluation.surrogate is None
    assert load_run(None, ["evaluation.surrogate=runs/plain/model"]).evaluation.surrogate == "runs/plain/model"
