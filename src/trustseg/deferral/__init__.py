"""Deferral: policies that send images to a human, fitted once and frozen, and conformal control of masks.

``policy`` reads record tables only; ``ranking`` tells which image score to use; ``fitting`` finds thresholds that keep
a guarantee; ``conformal`` does so for the pixels of a mask, ``area`` for its size. The unit is a patient. Every
guarantee is for new patients like those it was fitted on, and void under attack or shift. ``model`` is everywhere the
hash of the model and calibration that gave scores or probabilities, ``"model"`` of ``evaluation.json``, so that a
policy or control can be refused for others; empty if unknown.
"""

from trustseg.deferral.area import (
    AreaInterval,
    apply_area_interval,
    fit_area_interval,
    load_area_interval,
    save_area_interval,
)
from trustseg.deferral.certified import (
    CertifiedPolicy,
    certified_bound,
    certified_level,
    certified_radius,
    patients_needed,
)
from trustseg.deferral.certified_fitting import fit_certified_policy
from trustseg.deferral.conformal import (
    FalseNegativeControl,
    apply_false_negative_control,
    expected_share,
    fit_false_negative_control,
    load_control,
    save_control,
)
from trustseg.deferral.fitting import TARGETS, fit_policy
from trustseg.deferral.policy import HOLDS, NONE, VOID, Policy, apply_policy, check_model
from trustseg.deferral.policy_files import load_any_policy, load_certified_policy, load_policy, save_policy
from trustseg.deferral.ranking import compare_scores

__all__ = [
    "HOLDS",
    "NONE",
    "TARGETS",
    "VOID",
    "AreaInterval",
    "CertifiedPolicy",
    "FalseNegativeControl",
    "Policy",
    "apply_area_interval",
    "apply_false_negative_control",
    "apply_policy",
    "certified_bound",
    "certified_level",
    "certified_radius",
    "check_model",
    "compare_scores",
    "expected_share",
    "fit_area_interval",
    "fit_certified_policy",
    "fit_false_negative_control",
    "fit_policy",
    "load_any_policy",
    "load_area_interval",
    "load_certified_policy",
    "load_control",
    "load_policy",
    "patients_needed",
    "save_area_interval",
    "save_control",
    "save_policy",
]
