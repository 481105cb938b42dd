"""Entries: called like their functions; options are read from the signature and checked as a configuration has them."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import pytest
from annotated_types import Ge

from trustseg.attacks import OBJECTIVES, evaluation_attacks, training_attacks
from trustseg.entries import Entry, call, read, slug, written
from trustseg.errors import ConfigError, UnknownNameError
from trustseg.losses import ALIGNMENTS, LOSSES
from trustseg.metrics import metrics_of
from trustseg.selection import SELECTIONS
from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFTS
from trustseg.uncertainty import AGGREGATIONS, MEASURES

DICTIONARIES: list[Mapping[str, Callable[..., object]]] = [
    *(evaluation_attacks(), training_attacks(), OBJECTIVES, LOSSES, SELECTIONS, SHIFTS, GEOMETRIC_SHIFTS),
    *(AGGREGATIONS, MEASURES),
]


def blur(
    image: float,
    *,
    eps: float,
    width: Annotated[int, Ge(1)] = 3,
    share: float | None = None,
    edge: Literal["wrap", "cut"] = "cut",
    weights: Sequence[float] = (1.0,),
    sharp: bool = False,
    judge: str | Callable[[float], float] | None = None,
    report: Callable[[int], None] | None = None,
) -> float:
    """Return a blurred image."""
    return image / width + eps


BLUR = Entry(blur, "Blur", None)
ENTRIES = {"blur": BLUR}


def test_it_looks_like_its_function() -> None:
    assert BLUR(6.0, eps=1.0, width=2) == blur(6.0, eps=1.0, width=2)
    assert (BLUR.__name__, BLUR.__doc__) == ("blur", blur.__doc__)
    assert inspect.signature(BLUR) == inspect.signature(blur)


def test_options_are_what_a_configuration_can_hold() -> None:
    assert list(BLUR.options) == ["width", "share", "edge", "weights", "sharp", "judge"]  # no eps, and no function
    assert BLUR.options["judge"].annotation == (str | None)
    assert BLUR.options["width"].default == 3


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"width": 2}, 2),
        ({"width": "2"}, 2),
        ({"share": "2/255"}, 2 / 255),
        ({"share": "null"}, None),
        ({"edge": "wrap"}, "wrap"),
        ({"sharp": "true"}, True),
        ({"weights": [1, 2]}, [1.0, 2.0]),
    ],
)
def test_values_are_those_of_the_signature(given: dict[str, object], value: object) -> None:
    assert list(BLUR.checked(given, name="blur").values()) == [value]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"widht": 2}, UnknownNameError, "unknown option of blur 'widht'; did you mean 'width'"),
        ({"eps": 2}, UnknownNameError, "'eps'"),
        ({"report": "x"}, UnknownNameError, "'report'"),
        ({"width": 0}, ConfigError, "blur(width=0): expected integer >= 1, default 3"),
        ({"width": True}, ConfigError, "blur(width=true): expected integer >= 1, default 3"),
        ({"share": "half"}, ConfigError, "blur(share=half): expected number or null, default null"),
        ({"share": float("nan")}, ConfigError, "blur(share=nan): expected number"),
        ({"edge": "round"}, ConfigError, "blur(edge=round): expected wrap | cut, default cut"),
        ({"width": {"eps": 2}}, ConfigError, "blur(width={'eps': 2}): expected integer"),
        ({"weights": 2}, ConfigError, "blur(weights=2): expected list, each: number, default 1"),
    ],
)
def test_other_values_are_refused_by_name(given: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        BLUR.checked(given, name="blur")


def test_texts_hold_names_and_options() -> None:
    text = written({"name": "blur", "width": 2, "share": None, "sharp": True})
    assert text == "blur(width=2, share=null, sharp=true)"
    assert read(ENTRIES, str(text), kind="filter") == (BLUR, {"width": 2, "share": None, "sharp": True})
    assert call(ENTRIES, "blur(width=2)", kind="filter")(6.0, eps=0.0) == 3
    assert call(ENTRIES, "blur", kind="filter") is BLUR
    assert slug("blur(share=0.5, sharp=true)") == "blur_share0p5_sharptrue"
    for wrong, error in (("blurr", UnknownNameError), ("blur(width=2", ConfigError), ("blur(x=2)", UnknownNameError)):
        with pytest.raises(error):
            read(ENTRIES, wrong, kind="filter")


def test_every_entry_has_the_name_of_its_function_and_names_its_source() -> None:
    for dictionary in DICTIONARIES:
        for name, entry in dictionary.items():
            assert getattr(entry, "__name__", "").removesuffix("_") == name
            assert "Reference:" in (inspect.getdoc(entry) or ""), name
    # dice and sensitivity need no source
    assert all(entry.__name__ == name for name, entry in metrics_of("image").items())
    assert all("Reference:" in (inspect.getdoc(entry) or "") for entry in ALIGNMENTS.values())
