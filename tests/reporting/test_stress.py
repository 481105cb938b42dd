"""Attacks, checks and shifts in the report: numbers against plain recomputation, marks, records of older versions."""

import json
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import write_study
from tests.reporting.fake_stress import SEVERITIES, SHIFTS, THRESHOLD

from trustseg.errors import DataError
from trustseg.reporting import build_report, load_results, summary_table
from trustseg.reporting.checks import Check, check_matrix, load_checks, trust, unchecked
from trustseg.reporting.evidence import Evidence, collect
from trustseg.reporting.findings import find_suspicions
from trustseg.reporting.stress import Stress, put_under_stress
from trustseg.reporting.trade_off import strongest
from trustseg.study.statistics import Interval

EPS = 2 / 255
DRAWS = 20


@pytest.fixture(scope="module")
def stressed(stressed_study: Path) -> Evidence:
    return collect(load_results(stressed_study), draws=DRAWS)


@pytest.fixture(scope="module")
def stress(stressed: Evidence) -> Stress:
    return put_under_stress(stressed, draws=DRAWS)


def _plain(evidence: Evidence, variant: str, condition: str, eps: float) -> pl.DataFrame:
    return evidence.results.records.filter(
        pl.col("variant") == variant, pl.col("condition") == condition, (pl.col("eps") - eps).abs() < 1e-6
    ).sort("image", "seed")


def _row(stress: Stress, table: str, **wanted: str) -> dict[str, object]:
    rows = [row for row in stress.tables[table].rows if wanted.items() <= row.items()]
    assert len(rows) == 1
    return dict(rows[0])


def _value(row: dict[str, object], key: str) -> float:
    found = row[key]
    if isinstance(found, Interval):
        return found.value
    assert isinstance(found, float)
    return found


def _mean_dice(evidence: Evidence, variant: str, condition: str, eps: float = 0.0) -> float:
    frame = _plain(evidence, variant, condition, eps)
    return float(frame.filter(pl.col("mask_px") > 0)["dice"].to_numpy().mean())


def test_shifts_and_populations_are_no_attacks_and_no_test_images(stressed: Evidence) -> None:
    assert set(stressed.choices.attacks) == {"fgsm", "pgd", "ensemble", "deferral_aware"}
    assert set(stressed.results.records["kind"]) == {"clean", "attack", "shift"}
    assert set(stressed.results.populations["kind"]) == {"population"}
    assert not stressed.results.records["image"].str.starts_with("ct_").any()
    said = " ".join(find_suspicions(stressed))
    assert "left its L-infinity budget" not in said  # shifts change pixels without one
    assert "not tested on the same images" not in said


def test_records_of_an_older_version_are_clean_or_attacked(study: Path) -> None:
    results = load_results(study)
    assert "kind" not in pl.read_parquet(results.cells[0].folder / "records.parquet").columns
    kinds = results.records.select(clean=pl.col("condition") == "clean", kind="kind").unique()
    assert set(kinds.rows()) == {(True, "clean"), (False, "attack")}
    assert set(results.records["severity"]) == {0}
    assert results.populations.is_empty()


def test_an_older_study_has_no_checks_and_no_shifts(study: Path, evidence: Evidence) -> None:
    found = put_under_stress(evidence, draws=5)
    assert set(found.tables) == {"areas", "worst_case", "trade_off"}
    assert set(found.charts) == {"worst_case", "trade_off"}
    assert (found.doubts, found.checks, found.ensemble) == ({}, [], "")
    assert found.shift_table == "not recorded"
    assert "trust" not in summary_table(study, draws=5).columns


def test_area_is_that_of_the_mean_curve(stressed: Evidence, stress: Stress) -> None:
    rungs = [0.0, *(step / 255 for step in (1, 2, 4, 8))]
    means = [_mean_dice(stressed, "beta, none", "pgd" if eps else "clean", eps) for eps in rungs]
    row = _row(stress, "areas", variant="beta, none")
    assert _value(row, "area_pgd") == pytest.approx(
        np.trapezoid(means, rungs) / rungs[-1], abs=1e-6
    )  # eps has 7 digits
    assert "area_deferral_aware" not in row  # one budget is no curve


def test_worst_case_by_size_covers_all_images(stressed: Evidence, stress: Stress) -> None:
    variant = "beta, none"
    frame = _plain(stressed, variant, "pgd", EPS).filter(pl.col("mask_px") > 0)
    areas = (frame["mask_px"] / frame["pixels"]).to_numpy()
    low, high = np.quantile(areas[::2], (1 / 3, 2 / 3))  # two seeds of each image
    row = _row(stress, "worst_case", variant=variant, condition="PGD 2/255")
    dice = frame["dice"].to_numpy()
    for key, chosen in (("small", areas <= low), ("large", areas > high), ("dice", areas > 0)):
        assert _value(row, key) == pytest.approx(dice[chosen].mean(), abs=1e-9)
    parts = [row[key] for key in ("small", "medium", "large")]
    assert sum(getattr(part, "count", 0) for part in parts) == frame["image"].n_unique()
    empty = _plain(stressed, variant, "pgd", EPS).filter(pl.col("mask_px") == 0)
    assert _value(row, "empty") == pytest.approx((empty["predicted_px"] / empty["pixels"]).mean())


def test_the_ensemble_is_last_and_checked(stressed: Evidence, stress: Stress) -> None:
    conditions = [row["condition"] for row in stress.tables["worst_case"].rows if row["variant"] == "beta, none"]
    assert conditions[0] == "clean"
    assert conditions[-1] == "ensemble 2/255"
    assert "above that of no other attack" in stress.ensemble
    row = _row(stress, "worst_case", variant="beta, none", condition="PGD 2/255")
    assert str(row["stronger"]).startswith("0 of ")


def test_an_ensemble_that_is_not_the_worst_case_is_named(stressed_study: Path, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", heads=("beta",), regimes=("none",), seeds=1, images=9, patients=9, stress=True)
    for path in folder.glob("cells/*/records.parquet"):
        weak = pl.when(pl.col("condition") == "ensemble").then(pl.col("dice") * 1.5).otherwise("dice")
        pl.read_parquet(path).with_columns(dice=weak).write_parquet(path)
    found = put_under_stress(collect(load_results(folder), draws=5), draws=5)
    assert "not the worst case for beta, none under" in found.ensemble
    assert "the ensemble is too weak" in found.ensemble


def test_suspicious_models_are_marked_wherever_their_numbers_stand(stressed: Evidence, stress: Stress) -> None:
    doubted, trusted = "beta, random", "beta, none"
    assert list(stress.doubts) == ["bernoulli, random", doubted]
    assert stress.doubts[doubted] == "unbounded budget 0.17 (at most 0.05)"
    said = find_suspicions(stressed)
    assert said[1] == (
        f"{doubted}: every robustness number is not trustworthy; checks that failed: {stress.doubts[doubted]}."
    )
    for key in ("areas", "worst_case", "unnoticed", "trade_off"):
        marks = {row["variant"]: row["trust"] for row in stress.tables[key].rows if row["trust"] is not None}
        assert (marks[doubted], marks[trusted]) == (
            "not trustworthy",
            "2 of 3 checks passed, not run: transfer",
        )
    frame = summary_table(stressed.results, draws=5)
    assert dict(zip(frame["variant"], frame["trust"], strict=True))[doubted] == "not trustworthy"
    entries = stress.charts["worst_case"].entries
    assert entries == ["none", "random (not trustworthy)"]


def test_matrix_shows_the_worst_of_several_models(stressed: Evidence) -> None:
    variants, found = check_matrix(stressed.checks)
    assert variants == stressed.results.variants
    names = [name for name, *_ in found]
    assert names == ["zero gradients", "unbounded budget", "transfer"]
    worst = dict(zip(variants, found[1][3], strict=True))["beta, random"]
    assert worst is not None
    assert (worst.status, worst.text) == ("suspicious", "0.17")
    missing = found[2][3][0]
    assert missing is not None
    assert (missing.text, math.isnan(missing.figure)) == ("not run", True)
    assert trust(stressed.checks, "of another study") is None


def test_what_was_not_run_is_named_with_its_reason(stress: Stress, stressed_page: Path) -> None:
    assert stress.unchecked["beta, none"] == "1 of 3 checks not run (transfer: what transfer <means>)"
    assert [*stress.unchecked] == stress.variants
    assert "beta, none: 1 of 3 checks not run (transfer: what transfer &lt;means&gt;)" in stressed_page.read_text()


def test_a_check_has_passed_only_if_it_was_run_on_every_model() -> None:
    def made(cell: str, name: str, status: str) -> Check:
        return Check(cell, "beta", name, status, math.nan if status == "not_run" else 0.1, 0.2, "not run: no surrogate")

    both = (made("a", "noise", "ok"), made("a", "transfer", "ok"), made("b", "noise", "ok"))
    assert trust((*both, made("b", "transfer", "ok")), "beta") == "all 2 checks passed"
    assert trust((*both, made("b", "transfer", "not_run")), "beta") == "1 of 2 checks passed, not run: transfer"
    assert trust((*both, made("b", "transfer", "suspicious")), "beta") == "not trustworthy"
    assert unchecked((*both, made("b", "transfer", "not_run"))) == {
        "beta": "1 of 2 checks not run (transfer: no surrogate)"
    }
    assert unchecked(both) == {}


def test_a_check_with_two_limits_shows_both() -> None:
    checks = tuple(Check(cell, cell, "square", "ok", 0.0, limit, "so") for cell, limit in (("a", 0.01), ("b", 0.002)))
    assert check_matrix(checks)[1][0][:2] == ("square", "0.002 or 0.01")


def test_unreadable_checks_are_named(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", heads=("beta",), regimes=("none",), seeds=1, images=4, patients=4)
    (cell,) = folder.glob("cells/*")
    (cell / "suspicions.json").write_text(json.dumps({"checks": [{"name": "noise"}]}))
    with pytest.raises(DataError, match=r"cannot read .*suspicions\.json: .*expected the checks"):
        load_checks(load_results(folder))


def test_unnoticed_harm_by_hand(stressed: Evidence, stress: Stress) -> None:
    variant = "beta, none"
    clean, attacked = _plain(stressed, variant, "clean", 0.0), _plain(stressed, variant, "pgd", EPS)
    kept = (attacked["u_entropy_mean"] <= THRESHOLD).to_numpy()
    empty = (attacked["mask_px"] == 0).to_numpy()
    fall = clean["dice"].to_numpy() - attacked["dice"].to_numpy() >= 0.1
    alarm = (attacked["predicted_px"] / attacked["pixels"] >= 0.01).to_numpy()
    row = _row(stress, "unnoticed", variant=variant, condition="PGD 2/255")
    assert _value(row, "undetected") == pytest.approx((np.where(empty, alarm, fall) & kept).mean())
    assert _value(row, "deferral") == pytest.approx((~kept).mean())
    aware = _row(stress, "unnoticed", variant=variant, condition="deferral-aware 2/255")
    assert _value(aware, "deferral") == 0  # all scores were pushed below the threshold
    assert _value(aware, "detection") < 0.1
    assert _row(stress, "unnoticed", variant=variant, condition="clean")["undetected"] is None


def test_mean_corruption_is_the_mean_over_shifts(stressed: Evidence, stress: Stress) -> None:
    variant = "bernoulli, none"
    row = _row(stress, "corruption", variant=variant)
    means = {
        severity: float(np.mean([_mean_dice(stressed, variant, f"{name}_{severity}") for name in SHIFTS]))
        for severity in SEVERITIES
    }
    for severity, mean in means.items():
        assert _value(row, f"severity_{severity}") == pytest.approx(mean, abs=1e-9)
    assert _value(row, "cost") == pytest.approx(float(np.mean(list(means.values()))) - _value(row, "clean"), abs=1e-9)
    line = stress.charts["corruption"].panels[0].lines[0]
    assert list(line.x) == [0, *SEVERITIES]
    assert stress.shift_table == "1"


def test_small_multiples_put_the_costliest_shift_first(stress: Stress) -> None:
    assert [panel.title for panel in stress.charts["shifts"].panels] == ["rotation", "jpeg", "gaussian noise"]
    row = _row(stress, "shifts", variant="beta, none", shift="jpeg")
    assert _value(row, "severity_1") > _value(row, "severity_5")


def test_trade_off_is_read_at_the_strongest_attack(stressed: Evidence, evidence: Evidence, stress: Stress) -> None:
    assert strongest(stressed) == ("ensemble", round(4 / 255, 7))
    assert strongest(evidence) == ("pgd", round(4 / 255, 7))
    row = _row(stress, "trade_off", variant="beta, none")
    assert row["robust_dice"] == stressed.robustness["beta, none", ("ensemble", round(4 / 255, 7))]["dice"]
    points = [line for line in stress.charts["trade_off"].panels[0].lines if line.mode == "markers"]
    assert len(points) == len(stressed.results.variants)
    assert {line.look.symbol for line in points} == {"circle", "square"}  # heads are told apart


def test_the_page_marks_and_maps(stressed_page: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", stressed_page.read_text(), flags=re.DOTALL)
    assert "not trustworthy for beta, random</span></h2>" in text
    for section in ("robustness", "checks", "shifts"):
        assert f'<section id="{section}">' in text
        assert f'<a href="#{section}">' in text
    assert "Version of the table of severities: 1." in text
    assert "what zero_gradients &lt;means&gt;" in text
    assert "structured along ISO/IEC 24029" in text
    assert "No natural shifts" not in text
    assert not re.search(r"compli|certif", re.sub(r"data:[^\"]*", "", text), flags=re.IGNORECASE)


def test_nothing_to_stress(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", heads=("beta",), regimes=("none",), seeds=1, images=4, patients=4)
    for path in folder.glob("cells/*/*.parquet"):
        pl.read_parquet(path).filter(pl.col("condition") == "clean").write_parquet(path)
    found = put_under_stress(collect(load_results(folder), draws=5), draws=5)
    assert (found.tables, found.charts, found.ensemble) == ({}, {}, "")
    assert 'id="shifts"' not in build_report(folder, gallery=False, draws=5).read_text()
