"""A network of unknown origin: images in, its raw output out, whatever file it came from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final, Literal

import torch
from torch import Tensor, nn

from trustseg.errors import ModelError, QuestionError, TrustsegError, is_out_of_memory

__all__ = [
    "Activation",
    "Facts",
    "ForeignNetwork",
    "SelectedOutput",
    "activated",
    "first_line",
    "noise",
    "probe",
    "select",
]

Activation = Literal["sigmoid", "softmax"]
Output = str | int | None

_SIZES: Final = (64, 224, 256, 512, 384, 320, 128, 96, 1024)  # sides that are tried, in this order
_PARITY: Final = 1e-3  # of the largest output


@dataclass(slots=True, eq=False)
class Facts:
    """What is known of a network besides its numbers."""

    name: str  # of the file or function
    form: str  # the kind of file, e.g. "ONNX"
    digest: str  # SHA-256 of the file with the weights; empty where there is none
    channels: int | None = None  # of the input, None if unknown
    size: int | None = None  # side of the square that it needs, None if any
    batch: int | None = None  # images that it needs at once, None if any number
    # conventions that the file itself states, by field of `Conventions`
    given: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # sentences on what was found

    def fix(self, batch: int | None, channels: int | None, height: int | None, width: int | None) -> None:
        """Note the shape of the input as far as a file fixes it; a ModelError if no image has it."""
        if channels not in (1, 3, None):
            raise ModelError(f"'{self.name}' takes {channels} channels, and images have 1 or 3; wrap it")
        if height != width:
            raise ModelError(f"'{self.name}' needs images of {width}x{height} pixels; only squares can be given to it")
        self.batch, self.channels, self.size = batch, channels or 3, height

    def require_size(self, size: int | None) -> None:
        """Raise a ModelError if it needs squares of another size than one that is given."""
        if size is not None and self.size not in (None, size):
            raise ModelError(f"'{self.name}' needs images of {self.size} pixels, but size is {size}")


class ForeignNetwork(nn.Module):
    """A network called with a batch of inputs (B, C, H, W), returning its raw output (B, K, h, w).

    Attributes:
        facts: name, digest, channels and so on.
        module: the part with gradients, None where there is none.
        predict: the same without gradients, where that is another program (onnxruntime); None: ``module`` itself.
        activation: the last activation, where ``module`` and ``predict`` return what it gets instead of what it gives.
    """

    def __init__(
        self,
        facts: Facts,
        module: nn.Module | None,
        *,
        predict: Callable[[Tensor], Tensor] | None = None,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        self.facts = facts
        self.module = module
        self.predict = predict
        self.activation = activation

    @property
    def gradients(self) -> bool:
        """Whether its output can be differentiated by its input."""
        return self.module is not None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the raw output, as the file would."""
        return activated(self.before_activation(inputs), self.activation)

    def before_activation(self, inputs: Tensor) -> Tensor:
        """Return what the last activation gets, or the raw output where ``activation`` is None."""
        differentiated = torch.is_grad_enabled() and inputs.requires_grad
        if self.module is not None and (differentiated or self.predict is None or inputs.is_cuda):
            return self._in_batches(self.module, inputs)
        if self.predict is None:
            raise ModelError(f"'{self.facts.name}' can neither be run nor differentiated")
        return self._in_batches(self.predict, inputs.detach())

    def _in_batches(self, run: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Return the output for any number of inputs, where the network takes a fixed number at once."""
        size, count = self.facts.batch, len(inputs)
        try:
            if size is None or size == count:
                return run(inputs)
            filled = torch.cat([inputs, inputs[-1:].expand(-count % size, -1, -1, -1)])
            return torch.cat([run(part) for part in torch.split(filled, size)])[:count]
        except Exception as error:  # somebody's network may fail in any way
            if isinstance(error, TrustsegError) or is_out_of_memory(error):
                raise
            given = "x".join(map(str, inputs.shape))
            raise ModelError(f"'{self.facts.name}' fails on an input of {given} ({first_line(error)})") from error

    def check_parity(self, inputs: Tensor) -> None:
        """Leave gradients aside, with a note, unless both programs agree on these inputs."""
        if self.module is None or self.predict is None:
            return
        with torch.no_grad():
            expected = self._in_batches(self.predict, inputs)
            try:
                found = self._in_batches(self.module, inputs)
                error = float((found - expected).abs().max()) if found.shape == expected.shape else float("inf")
            except Exception as failure:  # a converted graph may fail in any way
                self._without_gradients(f"its conversion to torch fails ({first_line(failure)})")
                return
        bound = _PARITY * max(1.0, float(expected.abs().max()))
        if not error <= bound:
            self._without_gradients(f"its conversion to torch differs by up to {error:.2g} from onnxruntime")

    def _without_gradients(self, why: str) -> None:
        self.module = None
        self.facts.notes.append(f"No gradients: {why}.")


def activated(output: Tensor, activation: Activation | None) -> Tensor:
    """Return an activation of its input; softmax runs over the channels."""
    if activation is None:
        return output
    return torch.sigmoid(output) if activation == "sigmoid" else torch.softmax(output, dim=1)


class SelectedOutput(nn.Module):
    """A network of which one output is used, in the mode in which it was given: exported graphs refuse others."""

    def __init__(self, network: nn.Module, output: Output, name: str) -> None:
        super().__init__()
        self.network = network
        self.output = output
        self.name = name

    def train(self, mode: bool = True) -> "SelectedOutput":
        """Leave the network as it is."""
        self.training = mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output (B, K, h, w) for inputs (B, C, H, W)."""
        return select(self.network(inputs), self.output, self.name)


def select(raw: object, output: Output, name: str) -> Tensor:
    """Return one map (B, K, h, w) of what a network returned: a tensor, a tuple or a dictionary.

    ``output`` is the name or number of the one to take; without it several are a QuestionError.
    """
    found = _outputs(raw)
    if output is not None:
        key = str(output)
        if key not in found:
            raise ModelError(f"'{name}' has no output '{output}'; it has {_shapes(found)}")
        chosen = found[key]
    else:
        maps = {key: value for key, value in found.items() if value.ndim in (3, 4)}
        if not maps:
            raise ModelError(f"'{name}' returns no map of pixels: {_shapes(found) or type(raw).__name__}")
        if len(maps) > 1:
            raise QuestionError(
                f"'{name}' returns several maps: {_shapes(maps)}; choose one by --take, in Python output="
            )
        (chosen,) = maps.values()
    if chosen.ndim == 3:
        chosen = chosen.unsqueeze(1)
    if chosen.ndim != 4:
        raise ModelError(f"'{name}' returns {tuple(chosen.shape)}, expected maps (B, K, H, W)")
    return chosen


def _outputs(raw: object) -> dict[str, Tensor]:
    """Return the tensors of a network's output by name, or number."""
    if isinstance(raw, Tensor):
        return {"0": raw}
    if hasattr(raw, "_asdict"):  # a named tuple
        raw = raw._asdict()
    if isinstance(raw, Mapping):
        return {str(key): value for key, value in raw.items() if isinstance(value, Tensor)}
    if isinstance(raw, Sequence):
        return {str(index): value for index, value in enumerate(raw) if isinstance(value, Tensor)}
    return {}


def _shapes(found: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{key} {tuple(value.shape)}" for key, value in found.items())


def probe(run: Callable[[Tensor], object], facts: Facts) -> object:
    """Return what a network returns for some noise, and note in ``facts`` the channels and size that it takes."""
    failures: list[Exception] = []
    choices = product(
        [facts.channels] if facts.channels else [3, 1],
        [facts.size] if facts.size else _SIZES,
        [facts.batch] if facts.batch else [2, 1],
    )
    for channels, size, batch in choices:
        try:
            raw = run(noise(channels, size, batch=batch))
        except TrustsegError:
            raise
        except Exception as error:  # somebody's network may fail in any way
            failures.append(error)
            continue
        facts.channels = channels
        if batch == 1:
            facts.batch = 1
        if facts.size is None and size != _SIZES[0] and _is_fixed(run, channels, size, batch):
            facts.size = size
        return raw
    why = f"on images of {facts.channels or '1 or 3'} channels ({first_line(failures[0])})"
    raise ModelError(f"'{facts.name}' cannot be run {why}; wrap it") from failures[0]


def first_line(error: BaseException) -> str:
    """Return the first line of what somebody's code said, in brackets of an error of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def noise(channels: int, size: int, *, batch: int = 2) -> Tensor:
    """Return a batch of noise in [0, 1], the same at every call."""
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(0))


def _is_fixed(run: Callable[[Tensor], object], channels: int, size: int, batch: int) -> bool:
    """Return whether a network that runs on this size refuses the next multiple of 32."""
    try:
        run(noise(channels, size + 32, batch=batch))
    except Exception:  # as above
        return True
    return False
