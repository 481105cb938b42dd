"""Numbers, switches and fractions in any section."""

import pytest
from pydantic import ValidationError
from tests.config.given import refusal

from trustseg.config import (
    RunConfig,
    load_run,
)
from trustseg.config.section import Budget, Section, number


@pytest.mark.parametrize(
    ("text", "value"),
    [("4/255", 4 / 255), ("4 / 255", 4 / 255), ("0", 0.0), ("0.25", 0.25), ("1e-3", 0.001), ("255/255", 1.0)],
)
def test_a_budget_may_be_a_fraction(text: str, value: float) -> None:
    assert load_run(None, [f"adversarial.eps={text}"]).adversarial.eps == value


@pytest.mark.parametrize("text", ["4/0", "a/b", "4/255/2", "-1/255", "300/255", ".nan", ".inf", "1e999/1", "null", ""])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    assert "adversarial.eps" in refusal(f"adversarial.eps={text}")


def test_a_configuration_is_frozen() -> None:
    run = RunConfig()
    with pytest.raises(ValidationError):
        run.training.epochs = 3  # type: ignore[misc]  # the mistake under test


class Box(Section):
    """One field of each kind that a boolean may be taken for."""

    count: int = 1
    share: Budget = 0.5
    switch: bool = False
    word: str = "a"


@pytest.mark.parametrize(
    ("value", "found"),
    [("1/4", 0.25), ("0.5/255", 0.5 / 255), (" 3 / 2 ", 1.5), ("1e-1/2", 0.05), ("1/0", "1/0"), ("a/b", "a/b")],
)
def test_a_fraction_becomes_a_number_and_the_rest_is_left(value: str, found: object) -> None:
    assert number(value) == found


@pytest.mark.parametrize("value", [3, 0.25, None, "4", "", "1/2/3", [1]])
def test_what_is_no_fraction_is_left_alone(value: object) -> None:
    assert number(value) is value


@pytest.mark.parametrize("key", ["count", "share", "word"])
@pytest.mark.parametrize("value", [True, False])
def test_yes_is_no_number_and_no_word(key: str, value: bool) -> None:
    with pytest.raises(ValidationError, match=f"got {str(value).lower()}.*quote it"):
        Box.model_validate({key: value})
    assert Box.model_validate({"switch": value}).switch is value


@pytest.mark.parametrize("values", [{"share": -0.1}, {"share": float("nan")}, {"share": float("inf")}, {"cuont": 2}])
def test_what_a_section_refuses(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Box.model_validate(values)
