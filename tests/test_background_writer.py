"""Work beside the caller: in order, all of it, and its errors come back."""

import threading
from functools import partial

import pytest

from trustseg.background_writer import background_writer


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


def test_what_a_work_raises_reaches_the_next_call() -> None:
    def broken() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), background_writer() as later:  # noqa: PT012
        later(broken)
        later(list)
        pytest.fail("the second call was expected to raise")


def test_what_the_last_work_raises_reaches_the_end() -> None:
    def broken() -> None:
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"), background_writer() as later:
        later(broken)


def test_where_both_fail_the_error_of_the_caller_tells_of_the_other() -> None:
    def broken() -> None:
        raise ValueError("the work")

    with pytest.raises(KeyError) as caught, background_writer() as later:  # noqa: PT012
        later(broken)
        raise KeyError("the caller")
    assert caught.value.__notes__ == ["in addition, background work failed: ValueError: the work"]
