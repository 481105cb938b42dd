"""Finding the last activation of a network, so that log-odds come from its input and keep their gradient.

In float32 a sigmoid is exactly 1 from a logit of 17, and its gradient exactly 0: an attack through it would find
nothing. Where the last operation is a sigmoid or a softmax over the channels, its input is used instead.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from trustseg.models.foreign.network import Activation, activated

__all__ = ["is_equal", "strip_graph", "strip_module"]

_SIGMOIDS: Final = (torch.sigmoid, Tensor.sigmoid, torch.special.expit, nn.functional.sigmoid)
_SOFTMAXES: Final = (torch.softmax, Tensor.softmax, nn.functional.softmax, torch.special.softmax)
_TOLERANCE: Final = 1e-6


class _Watch(TorchFunctionMode):
    """Remembers input and output of each sigmoid, and of each softmax over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Activation, Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        options = kwargs or {}
        result = func(*args, **options)
        if func in _SIGMOIDS or func in _SOFTMAXES:
            given = args[0] if args else options.get("input")
            dim = args[1] if len(args) > 1 else options.get("dim")
            if isinstance(given, Tensor) and func in _SIGMOIDS:
                self.seen.append(("sigmoid", given, result))
            elif isinstance(given, Tensor) and given.ndim == 4 and dim in (1, -3):
                self.seen.append(("softmax", given, result))
        return result


class _Stripped(nn.Module):
    """A module that returns what its last activation gets."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        found = _last_activation(self.network, inputs)
        if found is None:
            raise RuntimeError("the last operation was an activation on other images and is none on these")
        return found[1]


def _last_activation(network: nn.Module, inputs: Tensor) -> tuple[Activation, Tensor] | None:
    with _Watch() as watch:
        output = network(inputs)
    for name, given, result in reversed(watch.seen):
        if result is output:
            return name, given
    return None


def strip_module(network: nn.Module, inputs: Tensor) -> tuple[nn.Module, Activation | None]:
    """Return a module without its last activation, and which that was; the module itself if there is none."""
    with torch.no_grad():
        found = _last_activation(network, inputs)
        if found is None:
            return network, None
        bare = _Stripped(network)
        if not is_equal(bare, network, found[0], inputs):
            return network, None
    return bare, found[0]


def is_equal(
    bare: Callable[[Tensor], Tensor], whole: Callable[[Tensor], Tensor], activation: Activation, inputs: Tensor
) -> bool:
    """Return whether the activation of the one is the other, on inputs of several ranges."""
    with torch.no_grad():
        for scale in (1.0, 255.0, -2.0):
            given = inputs * scale
            if not torch.allclose(activated(bare(given), activation), whole(given), atol=_TOLERANCE, rtol=0):
                return False
    return True


def strip_graph(graph: fx.GraphModule) -> Activation | None:
    """Remove a last sigmoid or channel softmax of an exported graph, in place; return which it was."""
    output = next(node for node in graph.graph.nodes if node.op == "output")
    nodes = [node for node in output.all_input_nodes if node.op == "call_function"]
    if len(output.all_input_nodes) != 1 or not nodes:
        return None
    node = nodes[0]
    name = str(node.target)
    if "aten.sigmoid" in name:
        activation: Activation = "sigmoid"
    elif "aten.softmax" in name or "aten._softmax" in name:
        if len(node.args) < 2 or node.args[1] not in (1, -3):
            return None
        activation = "softmax"
    else:
        return None
    output.replace_input_with(node, node.args[0])
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return activation
