"""Writing a model as one file that needs nothing else: ONNX or torch.export."""

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from trustseg.beliefs import Bernoulli, Beta
from trustseg.calibration import Calibrated
from trustseg.config.loading import data_of_run
from trustseg.data.training_record import read_preprocessing, read_training_record, splits_file
from trustseg.deferral import Policy, check_model
from trustseg.entries import name_in
from trustseg.errors import ConfigError, ModelError, RunError
from trustseg.evaluation import hash_of_model, load_model
from trustseg.export.description import Description, Input, Precision, describe
from trustseg.export.exported import SUFFIXES, ExportedModel, open_content
from trustseg.export.graphs import OPSET, program_of, serialised
from trustseg.export.pipeline import Pipeline, as_input
from trustseg.export.variants import Change, change_of, halved, images_for, quantised
from trustseg.files import read_json, replacing
from trustseg.models import BeliefModel
from trustseg.models.foreign.onnx_files import package
from trustseg.uncertainty import AGGREGATIONS, require_given

__all__ = ["COMPONENTS", "PADDED", "Written", "export_model"]

_TOLERANCE: Final = 1e-4  # between the file and the model, of everything that it returns
COMPONENTS: Final = frozenset({"lesion_mean", "lesion_max"})  # label them, which no operator of ONNX does
PADDED: Final = frozenset({"patch_max", "quantile_mean"})  # branch on the number of pixels, which padding makes unknown


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        path: the file.
        size: of the file in bytes.
        difference: largest difference between the file and the model on noise, over all outputs but the mask.
        milliseconds: median time for one image of the model's own size, on the CPU.
        threads: that it took this time on.
        model: the file, opened.
        change: of Dice and ECE by lower precision, None where it was not measured.
    """

    path: Path
    size: int
    difference: float
    milliseconds: float
    threads: int
    model: ExportedModel
    change: Change | None

    def facts(self) -> list[str]:
        """Return format, size and time, one line each."""
        side = self.model.description.size
        form = f"ONNX, opset {OPSET}" if self.path.suffix.lower() == ".onnx" else "torch.export"
        return [
            f"{form}, {self.model.description.precision}, {self.size / 1e6:.1f} MB",
            f"{self.milliseconds:.1f} ms per image of {side} x {side} pixels on the CPU, threads: {self.threads}",
        ]


def _check_target(path: Path, *, overwrite: bool, precision: Precision, data: Path | None) -> None:
    """Check that a model can be exported to a file: its name, whether it exists, precision and data, packages."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"'{path}' says no format by its suffix; name it .onnx (ONNX) or .pt2 (torch.export)")
    if path.exists() and not (overwrite and path.is_file()):
        raise ConfigError(f"'{path}' exists; give another name, or --overwrite to replace the file")
    if precision == "fp32" and data is not None:
        raise ConfigError("--data measures what lower precision changes; add --precision fp16 or int8, or leave it out")
    if precision == "int8" and data is None:
        raise ConfigError("--precision int8 takes ranges of activations from images; give some with masks by --data")
    if precision == "int8" and path.suffix.lower() != ".onnx":
        raise ConfigError(f"int8 is written as ONNX only; name '{path}' .onnx, or choose --precision fp16")
    if path.suffix.lower() == ".onnx":
        for name in ("onnx", "onnxruntime", "onnxscript"):
            package(name)


def export_model(
    folder: Path,
    path: Path,
    *,
    measure: str = "entropy",
    aggregation: str = "soft_dice_confidence",
    policy: Policy | None = None,
    kind: Input = "uint8",
    precision: Precision = "fp32",
    data: Path | None = None,
    uncalibrated: bool = False,
    overwrite: bool = False,
) -> Written:
    """Write the model in a folder, with all that comes before and after its network, into one file.

    Args:
        folder: of the model, written by ``Segmenter.save``; its calibration and ``data.json`` are used.
        path: ``.onnx`` or ``.pt2``.
        measure: pixel measure of uncertainty.
        aggregation: map to image score.
        policy: its measure and aggregation are taken, and the file returns ``review``.
        kind: type of the images.
        precision: in which the network computes.
        data: images with masks on which the change by lower precision is measured.
        uncalibrated: whether the calibration is left aside.
        overwrite: whether a file at ``path`` is replaced.

    Raises:
        ConfigError: if ``path`` names no format, or exists, or ``precision`` and ``data`` do not go together.
        BeliefError: if the model cannot give the measure.
        DataError: if the policy was fitted on another model, or the data cannot be used.
        MissingFileError: if there is no model, or its training has not finished.
        MissingPackageError: without the extra ``onnx``.
        ModelError: if the model or score cannot be a graph.
        RunError: if the file returns other numbers than the model.
    """
    _check_target(path, overwrite=overwrite, precision=precision, data=data)
    model = load_model(folder, uncalibrated=uncalibrated)
    if policy is not None:
        check_model(policy, hash_of_model(model))
        measure, aggregation = policy.measure, policy.aggregation
    about = _description_of(folder, model, measure=measure, aggregation=aggregation, policy=policy, kind=kind)
    images = None if data is None else images_for(data, about, quantised=precision == "int8")
    pipeline = Pipeline(model, about)
    content = serialised(program_of(pipeline), about, path)
    opened = open_content(content, path)
    difference, change = _difference(opened, pipeline), None
    if not difference <= _TOLERANCE:
        raise RunError(f"the exported file differs from the model by up to {difference:.2g}; please report this")
    if precision != "fp32":
        full, about = opened, about.model_copy(update={"precision": precision})
        if precision == "int8" and images is not None:
            content = quantised(content, images, about)
        else:
            content = serialised(program_of(Pipeline(halved(model), about)), about, path)
        opened = open_content(content, path)
        difference = _difference(opened, pipeline)
        change = None if images is None else change_of(full, opened, images)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    milliseconds = _milliseconds_of(opened)
    return Written(path, len(content), difference, milliseconds, torch.get_num_threads(), opened, change)


def _description_of(
    folder: Path, model: BeliefModel, *, measure: str, aggregation: str, policy: Policy | None, kind: Input
) -> Description:
    """Return what a file will say of itself, after checking that the model has the score and a graph can hold it."""
    head = model.spec.head
    require_given(measure, Bernoulli if head == "bernoulli" else Beta, head=head)
    if name_in(aggregation) in COMPONENTS:
        raise ModelError(
            f"{aggregation} labels connected components, which no graph can do; choose another --aggregation, or a "
            "policy fitted on another score"
        )
    reading = read_preprocessing(folder)
    if reading is not None and reading.fit == "pad" and name_in(aggregation) in PADDED:
        raise ModelError(
            f"{aggregation} needs the number of pixels without padding, which a graph does not know; choose another "
            "--aggregation, or a policy fitted on another score"
        )
    calibration = model.calibration if isinstance(model, Calibrated) else None
    read_training_record(folder)  # refuses a damaged or lost file
    seen, data = splits_file(folder), data_of_run(folder)
    return describe(
        policy,
        model=hash_of_model(model),
        spec=dataclasses.asdict(model.spec),
        calibration=None if calibration is None else {"method": calibration.method, **calibration.parameters},
        measure=measure,
        aggregation=aggregation,
        fit="squash" if reading is None else reading.fit,
        white=None if reading is None else reading.white,
        input=kind,
        target=None if data is None else data.target,
        seen=read_json(seen) if seen.exists() else None,
    )


def _noise(height: int, width: int, *, batch: int, channels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (batch, channels, height, width), dtype=np.uint8)


def _difference(opened: ExportedModel, pipeline: Pipeline) -> float:
    """Return the largest difference between file and module on noise of three sizes, relative to values above 1.

    A count of pixels is left out: one pixel within rounding of its threshold changes it by 1.
    """
    size, largest = opened.description.size, 0.0
    counts = AGGREGATIONS[name_in(opened.description.aggregation)].facts.counts
    for height, width, batch, channels in ((size, size, 1, 1), (size + 40, size + 9, 2, 3), (31, 90, 1, 1)):
        images = _noise(height, width, batch=batch, channels=channels)
        given = torch.from_numpy(as_input(images, pipeline.about.input))
        with torch.no_grad():
            expected = pipeline(given)
        found = opened(images)
        for name in ("probability", "uncertainty", "score"):
            if name == "score" and counts:
                continue
            error = np.abs(found[name] - expected[name].numpy()) / np.abs(expected[name].numpy()).clip(1)
            largest = max(largest, float(error.max()))
    return largest


def _milliseconds_of(opened: ExportedModel) -> float:
    """Return the median time for one image of the model's own size, after one that does not count."""
    size = opened.description.size
    images = _noise(size, size, batch=1, channels=opened.description.channels)
    times = []
    for _ in range(8):
        since = time.perf_counter()
        opened(images)
        times.append(1000 * (time.perf_counter() - since))
    return statistics.median(times[1:])
