"""Files of earlier versions are read by the names of today."""

import json
from pathlib import Path

import pytest

from tests.policies import POLICY
from trustseg.config import load_run
from trustseg.deferral import load_policy, save_policy
from trustseg.deferral.policy_files import sealed
from trustseg.former_names import AGGREGATIONS as FORMER
from trustseg.former_names import current_aggregation
from trustseg.uncertainty import AGGREGATIONS


def test_every_former_name_leads_to_one_of_today() -> None:
    assert not FORMER.keys() & AGGREGATIONS.keys()
    assert set(FORMER.values()) <= AGGREGATIONS.keys()
    assert [current_aggregation(name) for name in AGGREGATIONS] == [*AGGREGATIONS]


@pytest.mark.parametrize("former", FORMER)
def test_configurations_and_policies_with_a_former_name(tmp_path: Path, former: str) -> None:
    keys = ("adversarial.aggregation", "evaluation.deferral.aggregation")
    run = load_run(None, [*(f"{key}={former}" for key in keys), f"evaluation.aggregations=[mean, {former}]"])
    assert run.adversarial.aggregation == run.evaluation.deferral.aggregation == FORMER[former]
    assert run.evaluation.aggregations == ("mean", FORMER[former])
    save_policy(POLICY, tmp_path / "policy.json")
    (tmp_path / "policy.json").write_text(
        json.dumps(sealed(json.loads((tmp_path / "policy.json").read_text()) | {"aggregation": former}))
    )
    assert load_policy(tmp_path / "policy.json").aggregation == FORMER[former]
