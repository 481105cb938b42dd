"""``trustseg report`` hands its options on and prints where the page is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from trustseg.cli.report import report
from trustseg.errors import ConfigError, MissingFileError


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(report)
    return app


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runs/a"], (Path("runs/a"), True, None)),
        (["runs/a", "--no-gallery", "--output", "b.html"], (Path("runs/a"), False, Path("b.html"))),
        (["runs/a", "-o", "b.html"], (Path("runs/a"), True, Path("b.html"))),
    ],
)
def test_options_reach_the_report(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: tuple[Path, bool, Path | None]
) -> None:
    calls = []

    def build_report(
        folder: Path, *, gallery: bool, output: Path | None, labels: Path | None, report: Callable[[int, int], None]
    ) -> Path:
        report(7, 7)
        calls.append((folder, gallery, output))
        return output or folder / "report.html"

    monkeypatch.setattr("trustseg.reporting.build_report", build_report)
    result = CliRunner().invoke(_app(), arguments)
    assert result.exit_code == 0
    assert calls == [expected]
    assert result.stdout.strip() == str(expected[2] or expected[0] / "report.html")
    assert result.stderr.startswith("report, step: 7 of 7")


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(_app(), [str(tmp_path / "nowhere")])
    assert isinstance(result.exception, MissingFileError)


def test_a_folder_is_no_page() -> None:
    result = CliRunner().invoke(_app(), ["runs/a", "-o", "out"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "--output must be an HTML file, got 'out'; give 'out/report.html'"
