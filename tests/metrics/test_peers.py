"""The same numbers as other people's libraries where these mean the same; where they differ, the difference exactly."""

import importlib
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from trustseg.metrics import (
    aurc,
    ause,
    brier,
    expected_calibration_error,
    risk_coverage_curve,
)

pytestmark = pytest.mark.oracle


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities in (0, 1) and labels that are less certain than these say, (1, 500)."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(1, 500, dtype=torch.float64, generator=generator)
    return torch.sigmoid(logits), (torch.rand(1, 500, generator=generator) < torch.sigmoid(logits / 2)).double()


def peer(name: str, version: str) -> ModuleType:
    """Return a library that ``make test`` does without, of the version that was read; skip without it."""
    pytest.importorskip(name.partition(".")[0], minversion=version, exc_type=ImportError)
    return importlib.import_module(name)


def arrays(scene: tuple[torch.Tensor, torch.Tensor]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return scene[0].numpy().ravel(), scene[1].long().numpy().ravel()


# --- scikit-learn and torchmetrics, which are always there -----------------------------------------------------------


def test_scikit_learn_on_probabilities(scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    p, y = arrays(scene)
    assert float(brier(*scene)) == pytest.approx(sk.brier_score_loss(y, p), rel=1e-12)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_torchmetrics_calibration_error(scene: tuple[torch.Tensor, torch.Tensor], bins: int) -> None:
    # torchmetrics gives p = 1 a bin of its own, so that no p of the scene is 1.
    theirs = tm.binary_calibration_error(scene[0], scene[1].long(), n_bins=bins)
    assert float(expected_calibration_error(*scene, bins=bins)) == pytest.approx(float(theirs), rel=1e-6)


# --- torch-uncertainty -----------------------------------------------------------------------------------------------


def test_torch_uncertainty_ause_but_for_its_trapezoid(scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    theirs = peer("torch_uncertainty.metrics", "0.13").AUSE()
    p, y = (part.flatten() for part in scene)
    uncertainty, error = torch.minimum(p, 1 - p), (p - y).square()
    theirs.update(uncertainty, error)
    surest = error[uncertainty.argmin()]
    end = (surest - error.min()) / (2 * len(error) * error.mean())
    assert float(theirs.compute()) == pytest.approx(float(ause(uncertainty, error) - end), rel=1e-9)


def test_torch_uncertainty_aurc_but_for_its_trapezoid(scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    theirs = peer("torch_uncertainty.metrics.classification", "0.13").AURC()
    p, y = (part.flatten() for part in scene)
    theirs.update(p, y.long())
    uncertainty, error = torch.minimum(p, 1 - p), (p > 0.5) != (y > 0.5)
    risk = risk_coverage_curve(uncertainty, error).risk
    ends = (risk[0] + risk[-1]) / 2
    expected = (len(p) * aurc(uncertainty, error) - ends) / (len(p) - 1)
    assert float(theirs.compute()) == pytest.approx(float(expected), rel=1e-6)


# --- MAPIE -----------------------------------------------------------------------------------------------------------
