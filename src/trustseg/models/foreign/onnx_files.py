"""ONNX files: onnxruntime predicts; a conversion to torch gives gradients where it agrees with onnxruntime."""

import copy
import hashlib
import importlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import torch
from torch import Tensor, nn

from trustseg.errors import MissingPackageError, ModelError, QuestionError
from trustseg.models.foreign.network import Activation, Facts, ForeignNetwork, first_line, noise, probe
from trustseg.models.foreign.stripping import is_equal

__all__ = ["folded", "open_onnx", "package", "session_of"]

_TYPES: Final = {1: torch.float32, 2: torch.uint8, 10: torch.float16, 11: torch.float64}  # onnx.TensorProto


@dataclass(frozen=True, slots=True)
class _Input:
    """The one input of a graph: its name, type, and whether channels come last."""

    name: str
    dtype: torch.dtype
    channels_last: bool


def open_onnx(path: Path, *, output: str | int | None) -> ForeignNetwork:
    """Return the network of an ONNX file."""
    facts = Facts(path.name, "ONNX", "")
    model = _read(path, facts)
    given = _input_of(model, facts)
    _keep_output(model, output, facts.name)
    run = _runner(model, given, facts.name)
    probe(run, facts)
    inputs = noise(facts.channels or 3, facts.size or 64, batch=facts.batch or 2)
    bare = copy.deepcopy(model)
    activation = _strip(bare, channels_last=given.channels_last)
    if activation is not None and is_equal(stripped := _runner(bare, given, facts.name), run, activation, inputs):
        model, run = bare, stripped
    else:
        activation = None
    module = _converted(model, given, facts)
    network = ForeignNetwork(facts, module, predict=run, activation=activation)
    network.check_parity(inputs)
    return network


def package(name: str) -> Any:  # noqa: ANN401 - a module
    """Return a package of the extra ``onnx``; a MissingPackageError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(f"ONNX files need {name.partition('.')[0]}; install trustseg[onnx]") from error


def _read(path: Path, facts: Facts) -> Any:  # noqa: ANN401 - a protocol buffer
    """Return the model with its weights in memory, all of which lie in the folder of the file."""
    onnx = package("onnx")
    content = path.read_bytes()
    digest = hashlib.sha256(content)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own errors
        raise ModelError(f"'{path}' is no ONNX model ({first_line(error)}); export it again") from error
    if not model.graph.node:
        raise ModelError(f"'{path}' holds no graph; export it again")
    folder = path.parent.resolve()
    for name, location in sorted(set(_external(model))):
        file = (folder / location).resolve()
        if PurePosixPath(location).is_absolute() or not file.is_relative_to(folder):
            raise ModelError(f"'{path}' keeps '{name}' outside its folder, in '{location}'; move it into the folder")
        if not file.is_file():
            raise ModelError(f"'{path}' keeps '{name}' in '{location}', which is not there; copy it next to the model")
        digest.update(file.read_bytes())
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(folder))
    except Exception as error:  # onnx's checks of external data
        raise ModelError(f"the weights of '{path}' cannot be read ({first_line(error)}); export it again") from error
    facts.digest = digest.hexdigest()
    return model


def _external(model: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - a protocol buffer
    """Yield each tensor that lies in another file, and the path of that file."""
    onnx = package("onnx")
    for tensor in onnx.external_data_helper._get_all_tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                yield tensor.name, entry.value


def _input_of(model: Any, facts: Facts) -> _Input:  # noqa: ANN401 - a protocol buffer
    """Return the one input, and note its channels, size and batch in ``facts``."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs) or "none"
        raise ModelError(f"'{facts.name}' has inputs {names}, expected one batch of images")
    kind = inputs[0].type.tensor_type
    dims = [each.dim_value if each.HasField("dim_value") else 0 for each in kind.shape.dim]
    if len(dims) != 4:
        raise ModelError(f"'{facts.name}' takes an input of {len(dims)} dimensions, expected 4 (B, C, H, W)")
    if kind.elem_type not in _TYPES:
        raise ModelError(f"'{facts.name}' takes neither floats nor bytes; export it with a float32 input")
    last = dims[1] not in (1, 3) and dims[3] in (1, 3)
    batch, channels, height, width = (dims[0], dims[3], dims[1], dims[2]) if last else dims
    facts.fix(batch or None, channels or None, height or None, width or None)
    if _TYPES[kind.elem_type] == torch.uint8:
        facts.given["scale"] = 255
    if last:
        facts.notes.append("Channels come last in its input and output.")
    return _Input(inputs[0].name, _TYPES[kind.elem_type], last)


def _keep_output(model: Any, output: str | int | None, name: str) -> None:  # noqa: ANN401 - a protocol buffer
    """Remove the other outputs of the graph."""
    names = [each.name for each in model.graph.output]
    if output is None:
        if len(names) > 1:
            raise QuestionError(f"'{name}' has outputs {', '.join(names)}; choose one with --take, in Python output=")
        return
    number = int(output) if str(output).isdigit() else -1
    if str(output) not in names and not 0 <= number < len(names):
        raise ModelError(f"'{name}' has no output '{output}'; it has {', '.join(names)}")
    chosen = names.index(str(output)) if str(output) in names else number
    kept = copy.deepcopy(model.graph.output[chosen])
    del model.graph.output[:]
    model.graph.output.append(kept)


def _strip(model: Any, *, channels_last: bool) -> Activation | None:  # noqa: ANN401 - a protocol buffer
    """Let the graph return what its last sigmoid or softmax over the channels gets; return which it was."""
    result = model.graph.output[0]
    node = next((each for each in model.graph.node if result.name in each.output), None)
    if node is None or node.op_type not in ("Sigmoid", "Softmax"):
        return None
    if node.op_type == "Softmax":
        axis = next((each.i for each in node.attribute if each.name == "axis"), -1)
        if axis not in ((3, -1) if channels_last else (1, -3)):
            return None
    result.name = node.input[0]
    model.graph.node.remove(node)
    return "sigmoid" if node.op_type == "Sigmoid" else "softmax"


def _runner(model: Any, given: _Input, name: str) -> Callable[[Tensor], Tensor]:  # noqa: ANN401 - a protocol buffer
    """Return a function that runs the graph in onnxruntime."""
    session = session_of(model.SerializeToString(), name)

    def run(inputs: Tensor) -> Tensor:
        values = _laid_out(inputs.detach().cpu(), given)
        (found,) = session.run(None, {given.name: values.numpy()})
        return _channels_second(torch.from_numpy(found), given, name).to(inputs.device)

    return run


def session_of(content: bytes, name: str, *, write: Path | None = None) -> Any:  # noqa: ANN401 - of onnxruntime
    """Return a session of onnxruntime; it writes the graph with its constants folded to a file if one is named."""
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    if write is not None:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(write)
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no tree of errors
        raise ModelError(f"onnxruntime cannot open '{name}' ({first_line(error)}); export it again") from error


def folded(content: bytes, name: str) -> Any:  # noqa: ANN401 - a protocol buffer
    """Return the graph with its constants computed, batch normalisation folded, and no empty inputs at the end.

    onnx2torch takes an empty optional input for a value that is not constant.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "folded.onnx")
        session_of(content, name, write=file)
        model = package("onnx").load(file)
    for node in model.graph.node:
        while node.input and not node.input[-1]:
            node.input.pop()
    return model


def _laid_out(inputs: Tensor, given: _Input) -> Tensor:
    values = inputs.permute(0, 2, 3, 1) if given.channels_last else inputs
    if not given.dtype.is_floating_point:
        values = values.round().clamp(0, 255)
    return values.to(given.dtype).contiguous()


def _channels_second(output: Tensor, given: _Input, name: str) -> Tensor:
    """Return the output as (B, K, h, w)."""
    if output.ndim == 3:
        return output.unsqueeze(1)
    if output.ndim != 4:
        raise ModelError(f"'{name}' returns {tuple(output.shape)}, expected maps of pixels (B, K, H, W)")
    return output.permute(0, 3, 1, 2) if given.channels_last else output


class _Converted(nn.Module):
    """A converted graph with the layout of the file."""

    def __init__(self, graph: nn.Module, given: _Input, name: str) -> None:
        super().__init__()
        self.graph = graph
        self.given = given
        self.name = name

    def forward(self, inputs: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using a non-tuple sequence", UserWarning)  # onnx2torch's Slice
            output = self.graph(_laid_out(inputs, self.given))
        return _channels_second(output, self.given, self.name)


def _converted(model: Any, given: _Input, facts: Facts) -> nn.Module | None:  # noqa: ANN401 - a protocol buffer
    """Return the graph as a torch module; None, with a note, where that is not possible."""
    if not given.dtype.is_floating_point:
        facts.notes.append("No gradients: its input is whole numbers.")
        return None
    converter = package("onnx2torch")
    try:
        plain = folded(model.SerializeToString(), facts.name)
        _teach_later_versions(plain)
        graph = converter.convert(plain)
    except Exception as error:  # a converter that meets the unknown may raise anything
        facts.notes.append(f"No gradients: it cannot be converted to torch ({first_line(error)}).")
        return None
    return _Converted(graph.eval().requires_grad_(False), given, facts.name)


def _teach_later_versions(model: Any) -> None:  # noqa: ANN401 - a protocol buffer
    """Let the converter take operators of later versions for the last that it knows.

    Most later versions only add types. Whether the results are right is not assumed: they have to agree with
    onnxruntime (``ForeignNetwork.check_parity``), or gradients are left aside.
    """
    onnx, registry = package("onnx"), package("onnx2torch.node_converters.registry")
    versions = {each.domain: each.version for each in model.opset_import}
    for domain, kind in {(node.domain, node.op_type) for node in model.graph.node}:
        try:
            since = onnx.defs.get_schema(kind, versions[domain], domain).since_version
            registry.get_converter(kind, since, domain)
        except NotImplementedError:
            for earlier in range(since - 1, 0, -1):
                try:
                    known = registry.get_converter(kind, earlier, domain)
                except NotImplementedError:
                    continue
                registry.add_converter(kind, since, domain)(known)
                break
