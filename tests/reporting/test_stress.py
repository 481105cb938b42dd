"""Attacks, checks and shifts in the report: numbers against plain recomputation, marks, records of older versions."""

import re
from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting import build_report, load_results
from trustseg.reporting.contents import build_contents
from trustseg.reporting.findings import find_caveats
from trustseg.reporting.overview import summary
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.shifted import table_version


def test_shifts_and_populations_are_no_attacks_and_no_test_images(stressed: ReportData) -> None:
    assert set(stressed.choices.attacks) == {"fgsm", "pgd", "ensemble", "deferral_aware"}
    assert set(stressed.results.records["kind"]) == {"clean", "attack", "shift"}
    assert set(stressed.results.populations["kind"]) == {"population"}
    assert not stressed.results.records["image"].str.starts_with("ct_").any()
    said = " ".join(find_caveats(stressed))
    assert "left its L-infinity budget" not in said  # shifts change pixels without one
    assert "not tested on the same images" not in said


def test_records_of_an_older_version_are_clean_or_attacked(study: Path) -> None:
    results = load_results(study)
    assert "kind" not in pl.read_parquet(results.cells[0].folder / "records.parquet").columns
    kinds = results.records.select(clean=pl.col("condition") == "clean", kind="kind").unique()
    assert set(kinds.rows()) == {(True, "clean"), (False, "attack")}
    assert set(results.records["severity"]) == {0}
    assert results.populations.is_empty()


def test_an_older_study_has_no_checks_and_no_shifts(data: ReportData) -> None:
    found = build_contents(data, draws=5)
    assert set(found.tables) >= {"areas", "worst_case", "trade_off"}
    assert set(found.tables) & {"checks", "unnoticed", "corruption", "shifts"} == set()
    assert set(found.charts) & {"corruption", "shifts"} == set()
    assert table_version(data.results) == "not recorded"
    assert "trust" not in summary(data).frame().columns


@pytest.mark.slow
def test_the_page_marks_and_maps(stressed_page: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", stressed_page.read_text(), flags=re.DOTALL)
    assert "not trustworthy for evidential, random selection</span></h2>" in text
    for section in ("robustness", "checks", "shifts"):
        assert f'<section id="{section}">' in text
        assert f'<a href="#{section}">' in text
    assert "Version of the table of severities: 1." in text
    assert "what zero_gradients &lt;means&gt;" in text
    assert "structured along ISO/IEC 24029" in text
    assert "No natural shifts" not in text
    assert not re.search(r"compli|certif", re.sub(r"data:[^\"]*", "", text), flags=re.IGNORECASE)


@pytest.mark.usefixtures("undrawn")
def test_nothing_to_stress(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", heads=("beta",), selections=("none",), seeds=1, images=4, patients=4)
    for path in folder.glob("cells/*/*.parquet"):
        pl.read_parquet(path).filter(pl.col("condition") == "clean").write_parquet(path)
    found = build_contents(collect(load_results(folder), draws=5), draws=5)
    assert set(found.tables) & {"areas", "worst_case", "trade_off", "unnoticed", "corruption", "shifts"} == set()
    assert 'id="shifts"' not in build_report(folder, gallery=False, draws=5).read_text()
