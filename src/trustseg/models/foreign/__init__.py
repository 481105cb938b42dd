"""Models that were trained elsewhere, behind the same contract as ours; or their predictions alone.

``open_model`` opens a network, ``find_conventions`` finds out on data what its input and output mean, and
``ForeignModel`` turns images into beliefs. ``open_predictions`` reads a folder of predictions where there is no model.
Nothing is unpickled, and code that comes with a model runs only where ``trust_code`` says so.
"""

from trustseg.models.foreign.conventions import Conventions
from trustseg.models.foreign.model import ForeignModel
from trustseg.models.foreign.network import ForeignNetwork
from trustseg.models.foreign.opening import open_model
from trustseg.models.foreign.predictions import Predictions, open_predictions
from trustseg.models.foreign.search import MARGIN, Findings, find_conventions

__all__ = [
    "MARGIN",
    "Conventions",
    "Findings",
    "ForeignModel",
    "ForeignNetwork",
    "Predictions",
    "find_conventions",
    "open_model",
    "open_predictions",
]
