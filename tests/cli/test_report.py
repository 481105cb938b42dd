"""``trustseg report`` hands its options on and prints where the page is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (Path("runs/a"), True, None, None)),
        (["--no-gallery", "-o", "b.html", "--labels", "c"], (Path("runs/a"), False, Path("b.html"), Path("c"))),
    ],
)
def test_options_reach_the_report(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: tuple[object, ...]
) -> None:
    calls = []

    def build_report(
        folder: Path, *, gallery: bool, output: Path | None, labels: Path | None, report: Callable[[int, int], None]
    ) -> Path:
        report(7, 7)
        calls.append((folder, gallery, output, labels))
        return output or folder / "report.html"

    monkeypatch.setattr("trustseg.reporting.build_report", build_report)
    found = command("report", "runs/a", *arguments)
    assert (found.code, found.out) == (0, f"{expected[2] or 'runs/a/report.html'}\n")
    assert calls == [expected]
    assert found.err.startswith("report, step: 7 of 7")
