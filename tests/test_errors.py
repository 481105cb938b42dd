"""The tree of errors: its drawing, its builtin parents and the sentence for an unknown name."""

import inspect

import pytest

from trustseg import errors
from trustseg.errors import TrustsegError, UnknownNameError, unknown_name

LEAVES = [
    leaf
    for _, leaf in inspect.getmembers(errors, inspect.isclass)
    if issubclass(leaf, TrustsegError) and leaf is not TrustsegError
]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_each_error_also_is_a_builtin_and_is_drawn(leaf: type[TrustsegError]) -> None:
    builtin = leaf.__bases__[1]
    assert leaf.__bases__[0] is TrustsegError
    assert builtin.__module__ == "builtins"
    assert f"── {leaf.__name__} ({builtin.__name__})" in inspect.getdoc(errors)  # type: ignore[operator]  # it has one


def test_unknown_name_proposes_the_nearest() -> None:
    error = unknown_name("attack", "fgms", ["pgd", "fgsm"])
    assert isinstance(error, UnknownNameError)
    assert str(error) == "unknown attack 'fgms'; did you mean 'fgsm'? known: fgsm, pgd"


def test_unknown_name_without_a_near_one_lists_all_sorted() -> None:
    assert str(unknown_name("loss", "xyz", {"b": 1, "a": 2})) == "unknown loss 'xyz'; known: a, b"
