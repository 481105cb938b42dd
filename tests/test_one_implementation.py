"""One implementation of a metric: what a user imports computes what tables, figures and hypotheses publish."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trustseg
from tests.reporting.fake_results import write_study
from trustseg import metrics
from trustseg.reporting.deferral import read_deferrals, undetected_harm_table
from trustseg.reporting.detection import failure_detection_table, population_tables
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import load_results
from trustseg.reporting.score_tables import uncertainty_change
from trustseg.reporting.tables import Table
from trustseg.statistics import Interval

SOURCE = Path(trustseg.__file__).parent
READERS = ("audit", "deferral", "reporting", "review", "statistics", "study")
NAMES = {"ece", "naurc"} | {name.removesuffix("_from_counts") for name in metrics.__all__ if name.islower()}
NAMES -= {"scores", "sparsification"}  # several numbers
OF_ITS_OWN = {"digamma", "cumsum", "trapezoid", "roc_auc_score", "average_precision_score"}  # what a formula is made of
ELSEWHERE = {  # sums that are no metric
    "deferral/certified_fitting.py",  # losses of patients below each threshold
    "deferral/conformal.py",  # losses of patients above each threshold
    "deferral/fitting.py",  # share of images above each threshold
    "review/summary.py",  # the distribution of a number of failures
    "statistics/correlation.py",  # ranks
}


def _files() -> list[Path]:
    return sorted(file for room in READERS for file in (SOURCE / room).rglob("*.py"))


def test_no_reader_of_tables_defines_a_metric() -> None:
    for file in _files():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        defined = {node.name.strip("_") for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert defined & NAMES == set(), file
        if file.relative_to(SOURCE).as_posix() not in ELSEWHERE:
            called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert called & OF_ITS_OWN == set(), file


# The code of each function is replaced, so that whoever imported it, under whatever name, runs the stand-in.
STAND_INS: dict[Any, Any] = {
    metrics.aurc_from_counts: lambda counts, errors: counts.sum(-1) * 0 + 0.11,
    metrics.augrc_from_counts: lambda counts, errors: counts.sum(-1) * 0 + 0.12,
    metrics.ause_from_counts: lambda counts, errors, **_: counts.sum(-1) * 0 + 0.13,
    metrics.nause_from_counts: lambda counts, errors, **_: counts.sum(-1) * 0 + 0.14,
    metrics.auroc_from_counts: lambda counts, positives: counts.sum(-1) * 0 + 0.15,
    metrics.average_precision_from_counts: lambda counts, positives: counts.sum(-1) * 0 + 0.16,
    metrics.fpr_at_tpr_from_counts: lambda counts, positives, **_: counts.sum(-1) * 0 + 0.17,
    metrics.calibration_error_from_counts: lambda counts: counts.sum(-1).sum(-1) * 0 + 0.18,
    metrics.dice_terms: lambda intersection, *_: (intersection * 0 + 0.19, intersection * 0 + 1.0),
    metrics.iou_terms: lambda intersection, *_: (intersection * 0 + 0.2, intersection * 0 + 1.0),
    metrics.undetected_harm: lambda clean_dice, dice, scores, *_, **rules: scores == scores,
}


@pytest.fixture
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for function, stand_in in STAND_INS.items():
        monkeypatch.setattr(function, "__code__", stand_in.__code__)


@pytest.mark.usefixtures("_stand_ins")
def test_published_numbers_are_those_of_the_metrics(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), images=12, patients=8, stress=True)
    results = load_results(folder, draws=3)
    evidence = collect(results)
    variant, clean = results.variants[0], ("clean", 0.0)
    expected: dict[str, float] = {
        "aurc": 0.11,
        "augrc": 0.12,
        "ause": 0.13,
        "ause_brier": 0.13,
        "nause": 0.14,
        "ece": 0.18,
    }
    expected |= {"pooled_dice": 0.19, "pooled_iou": 0.2}
    for metric, value in expected.items():
        assert evidence.score(variant, clean, metric).value == pytest.approx(value)
    assert _values(uncertainty_change(evidence), "detection") == {0.15}
    found = {"aurc": 0.11, "naurc": 0.14, "auroc": 0.15}
    assert {key: _values(failure_detection_table(evidence), key) for key in found} == {
        key: {found[key]} for key in found
    }
    found = {"auroc": 0.15, "aupr": 0.16, "fpr95": 0.17}
    for table in population_tables(evidence)[1:]:
        assert {key: _values(table, key) for key in found} == {key: {found[key]} for key in found}
    deferrals = read_deferrals(evidence)
    assert deferrals.decided[variant]["undetected_harm"].drop_nulls().all()
    assert _values(undetected_harm_table(evidence, deferrals), "detection") == {0.15}


def _values(table: Table, key: str) -> set[float]:
    """Return the values in a column of intervals."""
    found = (row[key] for row in table.rows)
    return {round(each.value, 9) for each in found if isinstance(each, Interval)}


@pytest.mark.usefixtures("_stand_ins")
def test_functions_of_users_run_the_same_formulas() -> None:
    score, wrong = torch.tensor([[0.1, 0.2, 0.7]]), torch.tensor([[True, False, True]])
    assert float(metrics.aurc(score, wrong)) == 0.11
    assert float(metrics.augrc(score, wrong)) == 0.12
    assert float(metrics.auroc(score, wrong)) == 0.15
    assert float(metrics.average_precision(score, wrong)) == 0.16
    assert float(metrics.fpr_at_tpr(score, wrong)) == 0.17
    assert float(metrics.expected_calibration_error(score, wrong)) == 0.18
    assert float(metrics.pooled_dice(wrong, wrong)) == pytest.approx(0.19)
    assert float(metrics.pooled_iou(wrong, wrong)) == pytest.approx(0.2)
    assert np.isclose(float(metrics.rank_scores(score, wrong).aurc), 0.11)
