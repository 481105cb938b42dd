"""What the tests of audits share."""

import pytest
from tests.audit.given import a_dot


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trustseg.audit.writing.write_figure", a_dot)
