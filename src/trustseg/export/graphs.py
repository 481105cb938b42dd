"""From a module to the content of a file: a graph, as ONNX or as torch.export writes it."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from trustseg.errors import ModelError
from trustseg.export.description import KEY, Description
from trustseg.export.pipeline import OUTPUTS, Pipeline
from trustseg.models.foreign.onnx_files import package

__all__ = ["OPSET", "as_onnx", "digamma", "lgamma", "program_of", "serialised"]

OPSET: Final = 18
_DIMENSIONS: Final = ("batch", "channels", "height", "width")
_LARGEST: Final = (2**16, 3, 2**16, 2**16)
_SHIFT: Final = 8  # from where the series of digamma and lgamma are exact to 1e-10
_TRACED: Final = (2, 3, 70, 90)  # any sizes, all different and none of them 1, which would be taken for constant


def program_of(pipeline: Pipeline) -> torch.export.ExportedProgram:
    """Return the graph of a pipeline, for any batch, one or three channels and any size."""
    images = torch.zeros(_TRACED, dtype=getattr(torch, pipeline.about.input))
    free = {at: torch.export.Dim(_DIMENSIONS[at], min=1, max=_LARGEST[at]) for at in range(len(_TRACED))}
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(pipeline, (images,), dynamic_shapes=(free,))
            plain: torch.export.ExportedProgram = program.run_decompositions({})  # no operator of autocast is left
    except Exception as error:  # torch.export raises many kinds
        spec = pipeline.model.spec
        raise ModelError(
            f"{spec.architecture} on {spec.encoder} cannot be traced to a graph; use the model folder itself"
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
    except Exception as error:  # torch.onnx has a tree of errors, but raises others too
        raise ModelError(
            f"{about.spec['architecture']} on {about.spec['encoder']} cannot be written as ONNX; export it as .pt2"
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
        if any(node.target in _DECOMPOSITIONS for node in program.graph.nodes):
            program = program.run_decompositions(_DECOMPOSITIONS)
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


def digamma(x: Tensor) -> Tensor:
    """Return the digamma function of x > 0 from plain arithmetic, as ONNX has no such operator.

    psi(x) = psi(x + 8) - sum over k < 8 of 1 / (x + k), and the asymptotic series of psi from 8 on, in float64.

    Example:
        >>> digamma(torch.tensor([1.0]))  # minus Euler's constant
        tensor([-0.5772])

    Reference:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 6.3.5 and 6.3.18.
    """
    low = x.double()
    high = low + _SHIFT
    i = 1 / (high * high)
    tail = i * (1 / 12 - i * (1 / 120 - i * (1 / 252 - i * (1 / 240 - i / 132))))
    steps = sum((1 / (low + k) for k in range(_SHIFT)), start=torch.zeros_like(low))
    return (high.log() - 0.5 / high - tail - steps).to(x.dtype)


def lgamma(x: Tensor) -> Tensor:
    """Return the logarithm of the gamma function of x > 0, likewise.

    lnGamma(x) = lnGamma(x + 8) - ln of the product of x + k over k < 8, and Stirling's series from 8 on, in float64.

    Example:
        >>> lgamma(torch.tensor([5.0]))  # ln 4!
        tensor([3.1781])

    Reference:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 6.1.15 and 6.1.41.
    """
    low = x.double()
    high = low + _SHIFT
    i = 1 / high
    tail = i * (1 / 12 - i * i * (1 / 360 - i * i * (1 / 1260 - i * i / 1680)))
    steps = sum(((low + k).log() for k in range(_SHIFT)), start=torch.zeros_like(low))
    constant = 0.9189385332046727  # ln(2 pi) / 2
    return ((high - 0.5) * high.log() - high + constant + tail - steps).to(x.dtype)


_DECOMPOSITIONS: Final[dict[Any, Callable[..., Any]]] = {
    torch.ops.aten.digamma.default: digamma,
    torch.ops.aten.lgamma.default: lgamma,
}
