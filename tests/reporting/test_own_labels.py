"""Labels of a reader's own: they reach every table and figure, and a file that does not fit is refused by name."""

from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.reporting.given import EVIDENTIAL, one_run

from trustseg.errors import TrustsegError
from trustseg.reporting import build_report, load_results
from trustseg.reporting.labels import describe_attack, describe_condition, shown_as
from trustseg.reporting.own_labels import load_labels
from trustseg.reporting.results import Results


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "study"
    return one_run(folder, selections=("none", "random"), images=6, patients=6)


@pytest.fixture(scope="module")
def results(small: Path) -> Results:
    return load_results(small)


@pytest.mark.usefixtures("undrawn")
def test_labels_reach_tables_and_page(small: Path, tmp_path: Path) -> None:
    names = {"variants": {EVIDENTIAL: "U-Net & co"}, "conditions": {"PGD 4/255": "strong PGD", "clean": "unchanged"}}
    names["report"] = {"intended_use": "triage of <phantoms>", "population": "Twelve films."}
    (tmp_path / "names.yaml").write_text(yaml.safe_dump(names))
    page = build_report(small, output=tmp_path / "report.html", labels=tmp_path / "names.yaml", draws=5)
    frame = pl.read_csv(tmp_path / "tables" / "differences.csv")
    assert set(frame["baseline"]) == {"U-Net & co"}
    assert {"unchanged", "strong PGD"} <= set(frame["condition"])
    assert r"U-Net \& co" in (tmp_path / "tables" / "summary.tex").read_text()
    assert "Dice strong PGD" in (tmp_path / "tables" / "summary.md").read_text()
    text = page.read_text()
    assert "U-Net &amp; co" in text
    assert "triage of &lt;phantoms&gt;" in text
    assert "Twelve films. 6 test images of 6 patients" in text
    assert EVIDENTIAL not in text
    assert describe_condition(("clean", 0.0)) == "clean"  # the labels end with the report


def test_an_attack_has_its_label_at_every_budget_and_a_budget_may_have_its_own() -> None:
    with shown_as({"PGD": "ours", "PGD 4/255": "ours at 4"}):
        shown = [describe_attack("pgd"), describe_condition(("pgd", 4 / 255)), describe_condition(("pgd", 8 / 255))]
    assert shown == ["ours", "ours at 4", "ours 8/255"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("variants: {evidentail, no adversarial training: x}", "names.yaml"),
        ("variants: {U-Net: x}", "unknown name 'U-Net'"),
        ("conditions: {PGD 3/255: x}", "unknown name 'PGD 3/255'"),
        ("figures: {}", "figures: no such key"),
        ("[a]", "names.yaml"),
        ("", "names.yaml"),
        (f"variants: {{'{EVIDENTIAL}': 1}}", f"variants.{EVIDENTIAL}"),
        (f"variants: {{'{EVIDENTIAL}': 'evidential, random selection'}}", "stands for two names"),
        ("variants: [", "names.yaml"),
        ("report: {intended: x}", "did you mean 'intended_use'"),
        ("report: {margin: -1}", "report.margin"),
        ("report: x", "report: input"),
        (None, "no YAML file"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(results: Results, tmp_path: Path, content: str | None, named: str) -> None:
    path = tmp_path / "names.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TrustsegError) as caught:
        load_labels(path, results)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
