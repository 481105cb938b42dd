"""A thread that writes files while the device goes on."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["background_writer"]


@contextmanager
def background_writer() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Yield a function that runs works one after another on a thread of their own, at most one behind the caller.

    All of them are done when the context ends. What a work raises is raised by the next call, or at the end; where the
    caller fails as well, it is noted on the caller's error.

    Example:
        >>> found = []
        >>> with background_writer() as later:
        ...     for number in range(3):
        ...         later(lambda number=number: found.append(number))
        >>> found
        [0, 1, 2]
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        running: list[Future[object]] = []

        def later(work: Callable[[], object]) -> None:
            if running:
                running.pop().result()
            running.append(thread.submit(work))

        try:
            yield later
        except BaseException as error:
            if running and (reason := running.pop().exception()) is not None:
                error.add_note(f"in addition, background work failed: {type(reason).__name__}: {reason}")
            raise
        if running:
            running.pop().result()
