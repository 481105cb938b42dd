"""A trained model as one file that needs neither trustseg nor torch: ONNX, or a torch.export program.

Everything that ``trustseg predict`` does with an image is in the graph: resize, normalisation, network, calibration,
uncertainty, image score and the threshold of a policy. ``export_model`` writes a file, ``open_exported`` runs one.
"""

from trustseg.export.exported import ExportedModel, is_exported, open_exported
from trustseg.export.pipeline import OUTPUTS
from trustseg.export.prediction import ExportedBelief, predict_exported
from trustseg.export.writing import Written, export_model

__all__ = [
    "OUTPUTS",
    "ExportedBelief",
    "ExportedModel",
    "Written",
    "export_model",
    "is_exported",
    "open_exported",
    "predict_exported",
]
