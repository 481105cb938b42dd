"""From a module to the content of a file: a graph, as ONNX or as torch.export writes it."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from trustseg.errors import MissingPackageError, ModelError
from trustseg.export.description import KEY, Description
from trustseg.export.exported import package
from trustseg.export.pipeline import OUTPUTS, Pipeline
from trustseg.export.special import DECOMPOSITIONS

__all__ = ["OPSET", "as_onnx", "program_of", "serialised"]

OPSET: Final = 18
_DIMENSIONS: Final = ("batch", "channels", "height", "width")
_LARGEST: Final = (2**16, 3, 2**16, 2**16)
_TRACED: Final = (2, 3, 70, 90)  # any sizes, all different and none of them 1, which would be taken for constant


def program_of(pipeline: Pipeline) -> torch.export.ExportedProgram:
    """Return the graph of a pipeline, for any batch, one or three channels and any size.

    Raises:
        ModelError: if the model does not trace to a graph.
    """
    images = torch.zeros(_TRACED, dtype=torch.uint8 if pipeline.kind == "uint8" else torch.float32)
    dimension = torch.export.Dim
    free = {at: dimension(_DIMENSIONS[at], min=1, max=_LARGEST[at]) for at in range(len(_TRACED))}
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(pipeline, (images,), dynamic_shapes=(free,))
            plain: torch.export.ExportedProgram = program.run_decompositions({})  # no operator of autocast is left
    except Exception as error:  # torch.export raises many kinds
        spec = pipeline.model.spec
        raise ModelError(
            f"{spec.architecture} on {spec.encoder} cannot be traced to a graph ({type(error).__name__}); use the "
            "model folder itself"
        ) from error
    for module in plain.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # names folders of this machine
    return plain


def serialised(program: torch.export.ExportedProgram, about: Description, path: Path) -> bytes:
    """Return the content of the file for a graph: ONNX or torch.export, by the suffix of its name."""
    if path.suffix.lower() == ".pt2":
        stream = io.BytesIO()
        with _quiet():
            torch.export.save(program, stream, extra_files={f"{KEY}.json": about.text()})
        return stream.getvalue()
    try:
        proto = as_onnx(program, ["image"], list(OUTPUTS if about.policy is not None else OUTPUTS[:-1]))
    except ImportError as error:
        raise MissingPackageError(f"ONNX files need {error.name}; install trustseg[onnx]") from error
    except Exception as error:  # torch.onnx has a tree of errors, but raises others too
        raise ModelError(
            f"{about.spec['architecture']} on {about.spec['encoder']} cannot be written as ONNX "
            f"({type(error).__name__}); export it as .pt2"
        ) from error
    _name_dimensions(proto)
    for each in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer, proto.graph):
        del each.metadata_props[:]  # how the graph was traced
    package("onnx").helper.set_model_props(proto, {KEY: about.text()})
    written: bytes = proto.SerializeToString()
    return written


def as_onnx(program: torch.export.ExportedProgram, inputs: list[str], outputs: list[str]) -> Any:  # noqa: ANN401
    """Return the ONNX model, a protocol buffer, of a graph whose inputs and outputs get these names."""
    with _quiet():
        if any(node.target in DECOMPOSITIONS for node in program.graph.nodes):
            program = program.run_decompositions(DECOMPOSITIONS)
        found: Any = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=inputs, output_names=outputs, verbose=False
        )
    return found.model_proto


def _name_dimensions(proto: Any) -> None:  # noqa: ANN401 - a protocol buffer
    """Call the free dimensions of input and outputs batch, channels, height and width."""
    del proto.graph.value_info[:]
    (image,) = proto.graph.input
    symbols = [dim.dim_param for dim in image.type.tensor_type.shape.dim]
    names = dict(zip(symbols, _DIMENSIONS, strict=True))
    for each in (image, *proto.graph.output):
        for dim in each.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch's exporters say of their own steps from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
