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
