"""Work beside the caller: in order, all of it, and its errors come back."""

import threading
from functools import partial

import pytest

from trustseg.background_writer import background_writer


def failing(words: str) -> None:
    raise ValueError(words)


def test_works_run_in_order_on_another_thread_and_are_done_at_the_end() -> None:
    found: list[tuple[int, bool]] = []

    def note(number: int) -> None:
        found.append((number, threading.current_thread() is threading.main_thread()))

    with background_writer() as later:
        for number in range(20):
            later(partial(note, number))
    assert found == [(number, False) for number in range(20)]


def test_the_caller_goes_on_but_is_never_more_than_one_work_ahead() -> None:
    may_go_on, started = threading.Event(), []
    with background_writer() as later:
        later(lambda: may_go_on.wait(5))
        assert not may_go_on.is_set()  # the first work still runs, and we are here
        blocked = threading.Thread(target=lambda: later(lambda: started.append(1)))
        blocked.start()
        blocked.join(0.05)
        assert blocked.is_alive()
        may_go_on.set()
        blocked.join(5)
    assert started == [1]


def test_what_a_work_raises_reaches_the_next_call_or_the_end() -> None:
    with pytest.raises(ValueError, match="no"), background_writer() as later:  # noqa: PT012
        later(partial(failing, "no"))
        later(list)
        pytest.fail("the second call was expected to raise")
    with pytest.raises(ValueError, match="late"), background_writer() as later:
        later(partial(failing, "late"))


def test_where_both_fail_the_error_of_the_caller_tells_of_the_other() -> None:
    with pytest.raises(KeyError) as caught, background_writer() as later:  # noqa: PT012
        later(partial(failing, "the work"))
        raise KeyError("the caller")
    assert caught.value.__notes__ == ["in addition, background work failed: ValueError: the work"]
