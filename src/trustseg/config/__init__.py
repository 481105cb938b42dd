"""The settings of a run and of a study: one schema, checked against the dictionaries of names.

A study is a run plus a grid of values; see ``study/grid.py``. Importing this package loads neither torch nor Lightning:
names are looked up when a configuration is checked. Validators raise ``ValueError`` or one of our errors; all of them
reach the user as errors of ``load_run`` and ``load_study``.
"""

from trustseg.config.adversarial import AdversarialConfig
from trustseg.config.data import DataConfig, open_images
from trustseg.config.evaluation import AttackConfig, DeferralConfig, EvaluationConfig, MeasureConfig, MinimalConfig
from trustseg.config.keys import describe_keys, describe_options
from trustseg.config.loading import load_run, load_study, with_values
from trustseg.config.run import RunConfig
from trustseg.config.study import MixtureConfig, PhantomConfig, ReportConfig, StudyConfig
from trustseg.config.training import LossConfig, ModelConfig, TrainingConfig

__all__ = [
    "AdversarialConfig",
    "AttackConfig",
    "DataConfig",
    "DeferralConfig",
    "EvaluationConfig",
    "LossConfig",
    "MeasureConfig",
    "MinimalConfig",
    "MixtureConfig",
    "ModelConfig",
    "PhantomConfig",
    "ReportConfig",
    "RunConfig",
    "StudyConfig",
    "TrainingConfig",
    "describe_keys",
    "describe_options",
    "load_run",
    "load_study",
    "open_images",
    "with_values",
]
