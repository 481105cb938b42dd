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
from trustseg.reporting.failures import read_finders
from trustseg.reporting.populations import read_populations
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import load_results
from trustseg.reporting.unnoticed import deploy, unnoticed_table
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
    "reporting/populations.py",  # drawn rows up to each block
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
    results = load_results(folder)
    evidence = collect(results, draws=3)
    variant, clean = results.variants[0], ("clean", 0.0)
    scores = {str(name): interval.value for name, interval in evidence.scores[variant, clean].items()}
    expected = {"aurc": 0.11, "augrc": 0.12, "ause": 0.13, "ause_brier": 0.13, "nause": 0.14, "ece": 0.18}
    expected |= {"pooled_dice": 0.19, "pooled_iou": 0.2}
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert evidence.shifts[variant].detection.value == pytest.approx(0.15)
    for finder in read_finders(evidence, draws=3):
        assert [finder.aurc.value, finder.naurc.value, finder.auroc.value] == pytest.approx([0.11, 0.14, 0.15])
    for detection in read_populations(evidence, draws=3).detection.values():
        found = {name: interval.value for name, interval in detection.items()}
        assert found == pytest.approx({"auroc": 0.15, "aupr": 0.16, "fpr95": 0.17})
    assert deploy(results).records["unnoticed"].drop_nulls().all()
    detections = [row["detection"] for row in unnoticed_table(evidence, draws=3).rows]
    assert {found.value for found in detections if isinstance(found, Interval)} == {0.15}


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
