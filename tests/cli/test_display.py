"""What a user sees: words as they are, bars on a terminal and plain lines elsewhere."""

import re

import pytest
from tests.cli.test_study import status

from trustseg.cli.display import counted, print_table, watched_study


def test_what_was_done_before_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with watched_study() as observer:
        observer([status("a", "done"), status("b", "done"), status("c", "waiting")])
        observer([status("a", "done"), status("b", "done"), status("c", "running")])
    assert capsys.readouterr().err == "2 of 3 cells were done before\n[2/3] c-seed0-12345678: running training\n"


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with watched_study() as observer:
        for states in (("waiting", "waiting"), ("running", "waiting"), ("running", "running"), ("done", "running")):
            observer([status(name, state) for name, state in zip("ab", states, strict=True)])
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    last = shown.replace("\r", "\n").strip().splitlines()[-2:]
    assert re.match(r"study, 1 of 2 cells\s.* 50% ", last[0])
    assert re.match(r"\s*b-seed0: training\s.* 50% ", last[1])


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


def test_an_empty_table_keeps_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [], width=20)
    assert capsys.readouterr().out.split("\n")[0].split() == ["a", "b"]


def test_a_count_is_one_line_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with counted("predicting", 3) as done:
        for number in range(1, 4):
            done(number)
            assert capsys.readouterr().err == ""
    assert capsys.readouterr() == ("", "predicting: 3 done\n")


def test_what_broke_off_was_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), counted("predicting", 3):
        raise KeyError
    assert capsys.readouterr().err == ""


def test_a_count_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with counted("predicting", 4) as done:
        done(1)
        done(4)
    found = capsys.readouterr()
    assert found.out == ""
    assert "predicting" in found.err
    assert "100%" in found.err
    assert "4 done" not in found.err
