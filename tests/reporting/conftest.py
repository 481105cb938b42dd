"""One synthetic study and its report for all tests of the reporting room."""

from pathlib import Path

import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting import build_report, load_results
from trustseg.reporting.evidence import Evidence, collect

HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six variants in two folds and two seeds; one run failed, one was not finished, one image has a hostile name."""
    folder = tmp_path_factory.mktemp("study") / "synthetic"
    return write_study(folder, folds=2, seeds=2, images=32, patients=20, failed=1, unfinished=1, hostile=HOSTILE)


@pytest.fixture(scope="session")
def evidence(study: Path) -> Evidence:
    return collect(load_results(study), draws=60)


@pytest.fixture(scope="session")
def page(study: Path) -> Path:
    return build_report(study, draws=60)


@pytest.fixture(scope="session")
def stressed_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four variants in two seeds with an ensemble, shifts, another population, checks that fail for two, a policy."""
    folder = tmp_path_factory.mktemp("stressed") / "synthetic"
    return write_study(folder, regimes=("none", "random"), images=24, patients=12, stress=True)


@pytest.fixture(scope="session")
def stressed_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on two variants under stress, one of which fails a check."""
    folder = tmp_path_factory.mktemp("stressed_page") / "synthetic"
    write_study(folder, heads=("beta",), regimes=("none", "random"), seeds=1, images=10, patients=8, stress=True)
    return build_report(folder, draws=10)
