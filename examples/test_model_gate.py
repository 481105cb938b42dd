"""A gate for a model as a plain pytest file, one test per requirement: ``pytest test_model_gate.py``.

Paths come from the environment: MODEL, DATA and REQUIREMENTS.
"""

import os
from pathlib import Path

import pytest

from trustseg.audit import Audit, audit, read_requirements

MODEL = os.environ.get("MODEL", "model.onnx")
DATA = os.environ.get("DATA", "data/test")
ASKED = read_requirements(Path(os.environ.get("REQUIREMENTS", "requirements.yaml")))


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The audit, made once for all tests."""
    return audit(MODEL, DATA, ASKED, folder=tmp_path_factory.mktemp("audit"), budget="10min", pictures=False)


@pytest.mark.parametrize("place", range(len(ASKED)), ids=[f"{each.metric}, {each.condition}" for each in ASKED])
def test_requirement(audited: Audit, place: int) -> None:
    """Fail unless the requirement is met."""
    verdict = audited.verdicts[place]
    assert verdict.outcome == "met", f"{verdict.interval} under {verdict.condition}: {verdict.reason}"
