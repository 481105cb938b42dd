"""One small network, its weights set by hand, written in every form."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

SIZE = 32
FREE = ("b", 3, "h", "w")


class Red(nn.Module):
    """Finds what is red: a logit of 30 (red - blue / 2 - .35), red and blue blurred by a 3 x 3 mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 3, padding=1)
        self.last = nn.Conv2d(2, 1, 1)
        with torch.no_grad():
            self.first.weight.zero_()
            nn.init.zeros_(cast(Tensor, self.first.bias))
            self.first.weight[0, 0] = 1 / 9
            self.first.weight[1, 2] = 1 / 9
            self.last.weight[:] = torch.tensor([30.0, -15.0]).view(1, 2, 1, 1)
            nn.init.constant_(cast(Tensor, self.last.bias), -10.5)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.last(torch.relu(self.first(images)))
        return found


class Wrapped(nn.Module):
    """The network behind conventions of its own."""

    def __init__(self, before: Callable[[Tensor], Tensor] | None, after: Callable[[Tensor], Any] | None) -> None:
        super().__init__()
        self.inner = Red()
        self.before = before
        self.after = after

    def forward(self, images: Tensor) -> Any:  # noqa: ANN401 - whatever a network returns
        found = self.inner(images if self.before is None else self.before(images))
        return found if self.after is None else self.after(found)


def images(count: int = 6, *, size: int = SIZE, channels: int = 3) -> Tensor:
    """Smooth random colours in [0, 1]."""
    coarse = torch.rand(count, channels, 6, 6, generator=torch.Generator().manual_seed(3))
    large: Tensor = interpolate(coarse, size=(2 * size, 2 * size), mode="bicubic")
    fine: Tensor = avg_pool2d(large, 2).clamp(0, 1)
    return fine


def masks(found: Tensor) -> Tensor:
    """What the network finds in images as it gets them."""
    with torch.no_grad():
        logits: Tensor = Red()(found)
    return (logits > 0).float()


def write_onnx(path: Path, *, last: str = "", opset: int = 17, shape: Sequence[str | int] = FREE) -> Path:
    """Write the network as ONNX, with a last node if one is named."""
    red = Red()
    tensors = {f"{name}": value.detach().numpy() for name, value in red.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["images", "first.weight", "first.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "last.weight", "last.bias"], ["logits"]),
    ]
    result = "logits"
    if last:
        nodes.append(helper.make_node(last, ["logits"], ["result"]))
        result = "result"
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, (shape[0], None, None, None))],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path)
    return path


def rewired(path: Path, change: Callable[[Any], object]) -> Path:
    """Change the graph of an ONNX file."""
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
    return path


def write_export(path: Path, network: nn.Module, *, size: int = SIZE) -> Path:
    """Write a network with torch.export, for any batch and size."""
    free = torch.export.Dim.AUTO
    program = torch.export.export(
        network.eval(), (torch.rand(2, 3, size, size),), dynamic_shapes=({0: free, 2: free, 3: free},)
    )
    torch.export.save(program, path)
    return path


def write_script(path: Path, network: nn.Module) -> Path:
    """Write a network as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, its files are not
        script: Any = torch.jit.trace(network.eval(), torch.rand(2, 3, SIZE, SIZE))  # type: ignore[no-untyped-call]
        script.save(str(path))
    return path


def check_same(run: Callable[[Tensor], Tensor], given: Tensor, expected: Callable[[Tensor], Tensor]) -> None:
    """Check that two networks return the same."""
    with torch.no_grad():
        torch.testing.assert_close(run(given), expected(given), atol=1e-5, rtol=1e-5)


def make() -> nn.Module:
    """Return the network, as a user's function does, with other weights."""
    network = Red()
    nn.init.zeros_(network.last.weight)
    return network
