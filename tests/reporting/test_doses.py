"""Dose and response of a made-up study: the table, and the curves where doses are numbers."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.reporting.fake_results import write_study

from trustseg.reporting import load_results
from trustseg.reporting.hypotheses import dose_chart, dose_table
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.series import looks

FRACTIONS = {"none": 0.25, "random": 0.5, "certain": 1.0}  # what stands in the place of the regimes


def with_fractions(folder: Path) -> Path:
    """A study in which one rule of selection attacks three shares of the batch, and another one of them."""
    write_study(
        folder, heads=["beta"], regimes=[*FRACTIONS, "uncertain"], seeds=1, images=24, patients=20, gallery=False
    )
    for cell in (folder / "cells").iterdir():
        about = json.loads((cell / "cell.json").read_text())
        config = yaml.safe_load((cell / "config.yaml").read_text())
        rule, share = ("uncertain", 0.5) if about["regime"] == "uncertain" else ("random", FRACTIONS[about["regime"]])
        about |= {"regime": rule, "variant": f"beta, {rule}, fraction={share:g}"}
        config["adversarial"] |= {"selection": rule, "fraction": share}
        (cell / "cell.json").write_text(json.dumps(about))
        (cell / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def dosed(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return collect(load_results(with_fractions(tmp_path_factory.mktemp("doses") / "study")), draws=20)


def test_no_dose_no_table(data: ReportData) -> None:
    table = dose_table(data, draws=20)
    assert table.rows == ()
    assert dose_chart(data, table).panels == ()


def test_a_row_for_each_variant(dosed: ReportData) -> None:
    rows = dose_table(dosed, draws=20).rows
    assert {(row["name"], row["variant"], row["dose"]) for row in rows} == {
        ("H2", "beta, random, fraction=0.25", "0.25"),
        ("H2", "beta, random, fraction=0.5", "0.5"),
        ("H2", "beta, random, fraction=1", "1.0"),
        ("H2", "beta, uncertain, fraction=0.5", "0.5"),
    }


def test_a_curve_for_each_rule(dosed: ReportData) -> None:
    table = dose_table(dosed, draws=20)
    chart = dose_chart(dosed, table)
    (panel,) = chart.panels
    assert (panel.title, panel.x_label, panel.y_label) == ("H2", "adversarial.fraction", "Dice, PGD 4/255")
    curves = {line.name: list(line.x) for line in panel.lines}
    assert curves == {"beta, random": [0.25, 0.5, 1.0], "beta, uncertain": [0.5]}
    rows = sorted((row for row in table.rows if "random" in str(row["variant"])), key=lambda row: str(row["dose"]))
    drawn = chart.frame().filter(pl.col("series") == "beta, random")
    for column, end in (("y", "value"), ("low", "low"), ("high", "high")):
        assert drawn[column].to_list() == pytest.approx([getattr(row["value"], end) for row in rows], rel=1e-5)


def test_doses_that_are_words_have_no_curve(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=["beta"], seeds=1, images=24, patients=20, gallery=False)
    claim = {"name": "mine", "claim": "It helps.", "measures": ["dice"], "direction": "higher", "margin": 0.01}
    sides = {"first": {"adversarial.selection": "random"}, "second": {"adversarial.selection": "none"}}
    content = {"hypotheses": [claim | sides | {"dose": "adversarial.selection"}]}
    (folder / "hypotheses.yaml").write_text(yaml.safe_dump(content))
    data = collect(load_results(folder), draws=20)
    table = dose_table(data, draws=20)
    assert [row["dose"] for row in table.rows] == ["none", "random", "uncertain"]
    assert dose_chart(data, table).panels == ()


def test_variants_of_one_rule_and_head_are_told_apart(dosed: ReportData) -> None:
    found = looks(dosed.results)
    of_random = [look for variant, look in found.items() if "random" in variant]
    assert len({look.colour for look in of_random}) == len({look.symbol for look in of_random}) == 3
    assert of_random[0].colour.upper() == "#E69F00"  # the first keeps the colour of its rule
