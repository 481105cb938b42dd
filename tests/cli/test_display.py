"""What a user sees: words as they are, bars on a terminal, plain lines with the time left elsewhere."""

import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from tests.cli.test_study import status

from trustseg.cli.display import print_table
from trustseg.cli.progress import Lines, progress_of, watched_study


def test_words_in_a_table_are_no_markup_and_long_ones_wrap(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        ("name", "what to do"), [("[bold]x[/bold]", "pip install 'trustseg[qata]'"), ("[0, 1]", "a " * 30)], width=60
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "what", "to", "do"]
    assert lines[2].split() == ["[bold]x[/bold]", "pip", "install", "'trustseg[qata]'"]
    assert lines[3].startswith("[0, 1]")
    assert max(map(len, lines)) <= 60
    assert " ".join(lines[3:]).count("a") == 30
    print_table(("a", "b"), [], width=20)
    assert capsys.readouterr().out.split("\n")[0].split() == ["a", "b"]


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.parametrize(
    ("steps", "total", "lines"),
    [
        ((1, 2, 3), 3, ["1 of 3, about 2.0 min left", "2 of 3, about 1.0 min left", "3 of 3, 3.0 min"]),
        # What was done before is not counted into the pace:
        ((8, 9, 10), 12, ["8 of 12", "9 of 12, about 3.0 min left", "10 of 12, about 2.0 min left"]),
    ],
)
def test_each_step_gets_a_line_with_the_time_left(
    capsys: pytest.CaptureFixture[str], steps: Iterable[int], total: int, lines: list[str]
) -> None:
    clock = Clock()
    report = Lines("epoch", each=True, clock=clock)
    for done in steps:
        clock.now += 60
        report(done, total)
    assert told(capsys) == [f"epoch: {line}" for line in lines]


def test_of_many_steps_a_tenth_or_half_a_minute_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    quick, slow = Lines("quick", clock=clock), Lines("slow", clock=clock)
    for done in range(1, 1001):
        quick(done, 1000)
    assert told(capsys) == ["quick: 1000 of 1000, 0 s"]
    for done in range(1, 1001):
        clock.now += 0.1 if done < 500 else 1
        slow(done, 1000)
    steps = [int(line.split()[1]) for line in told(capsys)]
    assert steps[:4] == [100, 200, 300, 400]
    assert steps[-1] == 1000
    assert max(later - earlier for earlier, later in pairwise(steps) if earlier >= 500) <= 31


def test_what_broke_off_was_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress_of("predicting"):
        raise KeyError
    assert told(capsys) == []


def test_what_was_done_before_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with watched_study() as observer:
        observer([status("a", "done"), status("b", "done"), status("c", "waiting")])
        observer([status("a", "done"), status("b", "done"), status("c", "running")])
    assert told(capsys) == ["2 of 3 cells were already done", "[2/3] c-seed0-12345678: running training"]


def test_on_a_terminal_there_are_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress_of("predicting") as report:
        report(1, 4)
        report(4, 4)
    shown = "\n".join(told(capsys))
    assert "predicting" in shown
    assert "4/4" in shown
    with watched_study() as observer:
        for states in (("waiting", "waiting"), ("running", "waiting"), ("running", "running"), ("done", "running")):
            observer([status(name, state) for name, state in zip("ab", states, strict=True)])
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "\n".join(told(capsys)))
    last = shown.replace("\r", "\n").strip().splitlines()[-2:]
    assert re.match(r"study, 1 of 2 cells\s.* 50% ", last[0])
    assert re.match(r"\s*b-seed0: training\s.* 50% ", last[1])
