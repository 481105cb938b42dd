"""Variants of an exported model in lower precision, and what they cost in Dice and calibration."""

import copy
import logging
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trustseg.data import Pack, open_dataset
from trustseg.data.batches import PackRows, as_images
from trustseg.errors import ConfigError, ModelError
from trustseg.export.description import KEY, Description
from trustseg.export.exported import ExportedModel
from trustseg.export.pipeline import as_input
from trustseg.metrics import dice, expected_calibration_error
from trustseg.models import BeliefModel, Segmenter
from trustseg.models.foreign.onnx_files import folded, package

__all__ = ["Change", "Images", "change_of", "halved", "images_for", "quantised"]

_RANGES: Final = 32  # images from which the ranges of activations are taken
_BATCH: Final = 8


class Change(NamedTuple):
    """Mean Dice per image and pooled ECE of a file in full precision and of a variant, on the same images."""

    images: int
    dice: tuple[float, float]
    calibration_error: tuple[float, float]

    def line(self) -> str:
        """Return what changed, in a line."""
        words = [
            f"{name} {before:.4f} to {after:.4f} ({after - before:+.4f})"
            for name, (before, after) in (("Dice", self.dice), ("ECE", self.calibration_error))
        ]
        return f"change on {self.images} images, at the size of the model: {', '.join(words)}"


class _Half(nn.Module):
    """A network that computes in float16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.half())
        return logits.float()


class Images(NamedTuple):
    """Images as the model sees them: the rows from which ranges are taken, and those that are measured."""

    pack: Pack
    ranges: NDArray[np.int64]
    measured: NDArray[np.int64]


def halved(model: BeliefModel) -> BeliefModel:
    """Return a copy whose networks compute in float16; what comes before and after stays as it is."""
    found = copy.deepcopy(model)
    for module in list(found.modules()):
        if isinstance(module, Segmenter):
            module.network = _Half(module.network)
    return found.eval()


def images_for(data: Path, about: Description, *, quantised: bool) -> Images:
    """Return the images with masks in a data set, read as ``about`` says, none of them for both purposes."""
    pack = open_dataset(data, size=about.size, channels=about.channels, fit=about.fit, scale=about.scale)
    known = (pack.index["has_mask"] & (pack.index["split"] != "control")).arg_true().to_numpy().astype(np.int64)
    drawn = np.random.default_rng(0).permutation(known)
    ranges = min(_RANGES, len(drawn) // 2) if quantised else 0
    if len(drawn) - ranges < 1 or (quantised and ranges < 1):
        raise ConfigError(f"'{data}' has {len(drawn)} images with masks; give at least {2 if quantised else 1}")
    return Images(pack, np.sort(drawn[:ranges]), np.sort(drawn[ranges:]))


def change_of(full: ExportedModel, variant: ExportedModel, images: Images) -> Change:
    """Return Dice and ECE of both files on the same images."""
    pack, rows = images.pack, images.measured
    found = []
    for exported in (full, variant):
        probabilities, references = [], []
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            _, masks = as_images(PackRows(pack, batch).__getitems__(range(len(batch))))
            probabilities.append(torch.from_numpy(exported(np.ascontiguousarray(pack.images[batch]))["probability"]))
            references.append(masks)
        probability, reference = torch.cat(probabilities), torch.cat(references)
        overlap = float(dice(probability > 0.5, reference).nanmean())
        found.append((overlap, float(expected_calibration_error(probability, reference))))
    (dice_before, error_before), (dice_after, error_after) = found
    return Change(len(rows), (dice_before, dice_after), (error_before, error_after))


def quantised(content: bytes, images: Images, about: Description) -> bytes:
    """Return an ONNX file whose convolutions compute with 8-bit integers; all else stays as it is.

    Weights are rounded per channel; the ranges of activations are those seen on some images (post-training static
    quantisation of onnxruntime). ``about`` is what the new file will say of itself.
    """
    pixels, kind = images.pack.images, about.input
    batches = ({"image": as_input(np.array(pixels[row : row + 1]), kind)} for row in images.ranges.tolist())
    reader = SimpleNamespace(get_next=lambda: next(batches, None))  # what onnxruntime asks for images
    quantization, onnx = package("onnxruntime.quantization"), package("onnx")

    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "int8.onnx")
        before = logging.root.manager.disable
        logging.disable(max(before, logging.WARNING))  # it advises a pass that is already done
        try:
            quantization.quantize_static(
                folded(
                    content, "the model"
                ),  # batch normalisation belongs into the convolutions before they are rounded
                str(result),
                reader,
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
            )
            model = onnx.load(str(result))
        except Exception as error:  # onnxruntime has no tree of errors
            raise ModelError("onnxruntime cannot quantise the model; use --precision fp16") from error
        finally:
            logging.disable(before)
    onnx.helper.set_model_props(model, {KEY: about.text()})
    written: bytes = model.SerializeToString()
    return written
