"""The sections on the use of uncertainty: on the page where something was evaluated, with the limits that apply."""

import re
from pathlib import Path

import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting.contents import build_contents, limits
from trustseg.reporting.deferral import describe_deferral, policy_limits, read_deferrals
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import load_results


@pytest.fixture(scope="module")
def text(stressed_page: Path) -> str:
    return re.sub(r"<script.*?</script>", "", stressed_page.read_text(), flags=re.DOTALL)


def test_the_first_screen_tells_the_limits(stressed_study: Path) -> None:
    data = collect(load_results(stressed_study), draws=5)
    found = build_contents(data, draws=5)
    said = " ".join(limits(data, found))
    assert "the promise is void" in said
    assert "no measure of what the model has not seen" in said
    assert "other populations" not in said.split("Not tested here")[-1]
    findings = describe_deferral(data, found.deferrals)
    assert len(findings) == 4
    assert all("% kept and failed; under " in sentence for sentence in findings)


def test_what_was_not_evaluated_is_named_and_not_shown(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("bernoulli",), regimes=("none",), seeds=1, images=4, gallery=False)
    data = collect(load_results(folder), draws=5)
    found = build_contents(data, draws=5)
    assert not {"deferral", "deferral_policies", "populations", "population_area"} & set(found.tables)
    said = " ".join(limits(data, found))
    assert "No deferral policy" in said
    assert "natural shifts and images of other populations" in said
    assert "Vacuity" not in said


def test_a_policy_that_could_not_be_fitted_is_said_to_do_nothing(tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=6, gallery=False, stress=True
    )
    path = next(folder.glob("cells/*/policy.json"))
    path.write_text(path.read_text().replace('"threshold": 0.3', '"threshold": "inf"').replace('": 30', '": 3'))
    said = " ".join(policy_limits(read_deferrals(collect(load_results(folder), draws=5), draws=5)))
    assert "reviews nothing" in said
    assert "fitted on 3 patients only" in said
