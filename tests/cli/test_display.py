"""What a user sees: words as they are."""

import pytest

from trustseg.cli.display import print_table


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
