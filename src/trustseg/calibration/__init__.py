"""Calibration after training: maps of few parameters from belief to belief, fitted on validation images only.

A map of ``MAPS`` takes a belief and the values of its parameters, each a number or a tensor, and returns the calibrated
belief, of the same kind and shape. A belief of another kind raises a BeliefError.
"""

from trustseg.calibration.fitting import fit_calibration
from trustseg.calibration.maps import MAPS, CalibrationMap, beta_calibration, evidence_scaling, temperature_scaling
from trustseg.calibration.model import CALIBRATION_FILE, Calibratable, Calibrated, Calibration

__all__ = [
    "CALIBRATION_FILE",
    "MAPS",
    "Calibratable",
    "Calibrated",
    "Calibration",
    "CalibrationMap",
    "beta_calibration",
    "evidence_scaling",
    "fit_calibration",
    "temperature_scaling",
]
