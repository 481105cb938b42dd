"""Checks of gradient masking: what they say of a variant, and where its numbers are marked."""

import re
from html import escape
from pathlib import Path
from typing import Literal

import pytest
from tests.reporting.given import EVIDENTIAL

from trustseg.reporting.checks import Check, check_matrix, failures, trust, unchecked
from trustseg.reporting.contents import Contents
from trustseg.reporting.findings import find_caveats
from trustseg.reporting.overview import summary
from trustseg.reporting.report_data import ReportData


def test_suspicious_models_are_marked_wherever_their_numbers_stand(stressed: ReportData, stress: Contents) -> None:
    doubted, trusted = "evidential, random selection", EVIDENTIAL
    doubts = failures(stressed.checks)
    assert list(doubts) == ["classical, random selection", doubted]
    assert doubts[doubted] == "unbounded budget 0.17 (at most 0.05)"
    said = find_caveats(stressed)
    assert "left its L-infinity budget" not in " ".join(said)  # shifts change pixels without one
    assert said[1] == (f"{doubted}: every robustness number is not trustworthy; checks that failed: {doubts[doubted]}.")
    for key in ("areas", "worst_case", "unnoticed", "trade_off"):
        marks = {row["variant"]: row["trust"] for row in stress.tables[key].rows if row["trust"] is not None}
        assert (marks[doubted], marks[trusted]) == ("not trustworthy", "2 of 3 checks passed, not run: transfer")
    frame = summary(stressed).frame()
    assert dict(zip(frame["variant"], frame["trust"], strict=True))[doubted] == "not trustworthy"
    entries = list(stress.charts["worst_case"].legend)
    assert entries == ["no adversarial training", "random selection (not trustworthy)"]


def test_matrix_shows_the_worst_of_several_models(stressed: ReportData) -> None:
    variants, found = check_matrix(stressed.checks)
    assert variants == stressed.results.variants
    names = [name for name, *_ in found]
    assert names == ["zero gradients", "unbounded budget", "transfer"]
    worst = dict(zip(variants, found[1][3], strict=True))["evidential, random selection"]
    assert worst is not None
    assert (worst.status, worst.text) == ("suspicious", "0.17")
    missing = found[2][3][0]
    assert missing is not None
    assert (missing.text, missing.figure) == ("not run", None)
    assert trust(stressed.checks, "of another study") is None


@pytest.mark.slow
def test_the_page_marks_and_maps(stressed: ReportData, stressed_page: Path) -> None:
    told = unchecked(stressed.checks)[EVIDENTIAL]
    assert told == "1 of 3 checks not run (transfer: what transfer <means>)"
    text = re.sub(r"<script.*?</script>", "", stressed_page.read_text(), flags=re.DOTALL)
    assert f"{EVIDENTIAL}: {escape(told)}" in text
    assert "not trustworthy for evidential, random selection</span></h2>" in text
    for section in ("robustness", "checks", "shifts"):
        assert f'<section id="{section}">' in text
        assert f'<a href="#{section}">' in text
    for words in ("Version of the table of severities: 1.", "what zero_gradients &lt;means&gt;", "along ISO/IEC 24029"):
        assert words in text
    assert "No natural shifts" not in text
    assert not re.search(r"compli|certif", re.sub(r"data:[^\"]*", "", text), flags=re.IGNORECASE)


def test_a_check_has_passed_only_if_it_was_run_on_every_model() -> None:
    def made(cell: str, name: str, status: Literal["ok", "suspicious", "not_run"]) -> Check:
        figure = None if status == "not_run" else 0.1
        about = {"variant": "beta", "threshold": 0.2, "meaning": "not run: no surrogate"}
        return Check.model_validate({**about, "model": cell, "name": name, "status": status, "figure": figure})

    both = (made("a", "noise", "ok"), made("a", "transfer", "ok"), made("b", "noise", "ok"))
    assert trust((*both, made("b", "transfer", "ok")), "beta") == "all 2 checks passed"
    assert trust((*both, made("b", "transfer", "not_run")), "beta") == "1 of 2 checks passed, not run: transfer"
    assert trust((*both, made("b", "transfer", "suspicious")), "beta") == "not trustworthy"
    told = unchecked((*both, made("b", "transfer", "not_run")))
    assert told == {"beta": "1 of 2 checks not run (transfer: no surrogate)"}
    assert unchecked(both) == {}
