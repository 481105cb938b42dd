"""Synthetic studies, their numbers and their reports for all tests of the reporting room."""

from pathlib import Path

import pytest
from tests.reporting.fake_results import write_study
from tests.reporting.given import collected

from trustseg.reporting import build_report
from trustseg.reporting.contents import Contents, build_contents
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart

HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave charts and cases of a report undrawn, which take most of its time."""
    for name, drawing in (("write_figure", b""), ("draw_plotly", ""), ("shrink_png", b""), ("draw_case", b"")):
        monkeypatch.setattr(f"trustseg.reporting.page.{name}", lambda *_, drawing=drawing, **__: drawing)


def coarse_report(folder: Path, *, draws: int, gallery: bool = True) -> Path:
    """Write a report whose pictures have few pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trustseg.reporting.drawing._DPI", 50)
        return build_report(folder, draws=draws, gallery=gallery)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six variants in two folds and two seeds; one run failed, one was not finished, one image has a hostile name."""
    folder = tmp_path_factory.mktemp("study") / "synthetic"
    return write_study(folder, folds=2, seeds=2, images=32, patients=20, failed=1, unfinished=1, hostile=HOSTILE)


@pytest.fixture(scope="session")
def data(study: Path) -> ReportData:
    return collected(study, 60)


@pytest.fixture(scope="session")
def contents(data: ReportData) -> Contents:
    return build_contents(data)


@pytest.fixture(scope="session")
def charts(contents: Contents) -> dict[str, Chart]:
    return contents.charts


@pytest.fixture(scope="session")
def page(study: Path) -> Path:
    return coarse_report(study, draws=60)


@pytest.fixture(scope="session")
def stressed_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four variants in two seeds with an ensemble, shifts, another population, checks that fail for two, a policy."""
    folder = tmp_path_factory.mktemp("stressed") / "synthetic"
    return write_study(folder, selections=("none", "random"), images=24, patients=12, stress=True)


@pytest.fixture(scope="session")
def stressed_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on two variants under stress, one of which fails a check."""
    folder = tmp_path_factory.mktemp("stressed_page") / "synthetic"
    write_study(folder, heads=("beta",), selections=("none", "random"), seeds=1, images=10, patients=8, stress=True)
    return coarse_report(folder, draws=10)


@pytest.fixture(scope="session")
def stressed(stressed_study: Path) -> ReportData:
    return collected(stressed_study, 20)


@pytest.fixture(scope="session")
def stress(stressed: ReportData) -> Contents:
    return build_contents(stressed)
