"""Which images a human should look at: policies fitted once and frozen, and conformal control of what masks miss.

``policy`` reads record tables only; ``fitting`` finds thresholds that keep a promise; ``conformal`` does so for the
pixels of a mask. Every promise is for new patients like those it was fitted on, and void under attack or shift.
"""

from trustseg.deferral.conformal import (
    FalseNegativeControl,
    apply_false_negative_control,
    conformal_risk,
    fit_false_negative_control,
    load_control,
    save_control,
)
from trustseg.deferral.fitting import TARGETS, fit_policy
from trustseg.deferral.policy import HOLDS, VOID, Policy, apply_policy, check_model, load_policy, save_policy

__all__ = [
    "HOLDS",
    "TARGETS",
    "VOID",
    "FalseNegativeControl",
    "Policy",
    "apply_false_negative_control",
    "apply_policy",
    "check_model",
    "conformal_risk",
    "fit_false_negative_control",
    "fit_policy",
    "load_control",
    "load_policy",
    "save_control",
    "save_policy",
]
