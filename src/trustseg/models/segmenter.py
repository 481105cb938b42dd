"""A segmenter: normalisation, network and head in one module that turns images into a belief."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from inspect import signature
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.errors import MissingFileError, ModelError, ShapeError, unknown_name
from trustseg.files import replacing, write_json
from trustseg.models.architectures import ARCHITECTURES, DEEPEST, check_licence, place_dropout

__all__ = ["EVIDENCE", "HEADS", "STRIDE", "Segmenter", "SegmenterSpec", "build_segmenter"]

HEADS: Final[Mapping[str, int]] = {"bernoulli": 1, "beta": 2}  # head -> output maps of the network
LINEAR_FROM: Final = 10.0  # logit above which exponential evidence continues as its tangent: 2.2e4 and its slope


def exponential(logits: Tensor) -> Tensor:
    """Return exp(o), continued by its tangent above ``LINEAR_FROM``, so that it stays finite and keeps a gradient.

    Softplus grows like the logit: a probability of .001 takes an evidence of about 1000 and so a logit of 1000, which
    leaves sure pixels underconfident. Here it takes a logit of 7.
    """
    low = logits.clamp(max=LINEAR_FROM)
    return low.exp() * (1 + (logits - low))


EVIDENCE: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {"softplus": softplus, "exp": exponential}
"""How the two logits of a Beta head become evidence."""
STRIDE: Final = 2**DEEPEST  # the sides of an image are padded to multiples of this
FORMAT: Final = 1  # version of the model folder; raised when its layout changes


@dataclass(frozen=True, slots=True)
class SegmenterSpec:
    """What a segmenter is built from; together with its weights, all there is to save.

    Attributes:
        architecture: a name in ``ARCHITECTURES``.
        encoder: an encoder of segmentation_models.pytorch (``fcn``: resnet50 or resnet101, of torchvision).
        head: ``"bernoulli"`` (one logit per pixel) or ``"beta"`` (two amounts of evidence per pixel).
        channels: image channels, 1 or 3.
        size: side in pixels of the square images it was trained on; other sizes work, at another scale.
        prior: prior weight of each class in a Beta head, > 0.
        mean: grey level in [0, 1] that is subtracted from images: one for all channels, or one for each of three.
        deviation: grey level > 0 by which images are then divided, as many as ``mean``. With three of them a grey
            image becomes three channels, each normalised by its own, as an encoder trained on colour images expects.
        dropout: share of channels dropped before the last layers, in [0, 1), as MC dropout needs it; 0 places no layer.
        depth: how often the encoder halves its input: 5; in a U-Net or U-Net++ 3 to 5.
        decoder_channels: channels of a U-Net's decoder, deepest stage first; empty: 256, 128, 64, 32, 16.
        evidence: how a Beta head's logits become evidence, a name in ``EVIDENCE``; a Bernoulli head has none.
    """

    architecture: str
    encoder: str
    head: str
    channels: int = 1
    size: int = 224
    prior: float = 1.0
    mean: tuple[float, ...] = (0.5,)
    deviation: tuple[float, ...] = (0.25,)
    dropout: float = 0.0
    depth: int = DEEPEST
    decoder_channels: tuple[int, ...] = ()
    evidence: str = "softplus"


class Segmenter(nn.Module):
    """A network that turns images into a belief about every pixel, described by ``spec``.

    ``network`` maps (B, C, H, W) to (B, 1 or 2, H, W) logits, H and W multiples of 32.

    Example:
        >>> segmenter = build_segmenter(architecture="unet", encoder="resnet18", head="beta")
        >>> segmenter.eval().belief(torch.rand(1, 1, 40, 50)).probability.shape
        torch.Size([1, 1, 40, 50])
    """

    passes: Final = 1
    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: SegmenterSpec, network: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.network = network
        for name in ("mean", "deviation"):  # no weights: they are part of the description
            self.register_buffer(name, torch.tensor(getattr(spec, name)).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Belief:
        """Return the Bernoulli or Beta belief about each pixel of ``images``."""
        if images.ndim != 4 or images.shape[1] != self.spec.channels:
            raise ShapeError(
                f"images must be (B, {self.spec.channels}, H, W), got {tuple(images.shape)}; "
                "set data.channels to what the model was trained with"
            )
        height, width = images.shape[-2:]
        normalised = (images - self.mean) / self.deviation
        bottom, right = -height % STRIDE, -width % STRIDE
        if bottom or right:
            normalised = pad(normalised, (0, right, 0, bottom), mode="replicate")
        logits = self.network(normalised)[..., :height, :width]
        with torch.autocast(images.device.type, enabled=False):  # beliefs are float32 whatever autocast does
            return self._belief(logits if logits.dtype == torch.float64 else logits.float())

    def _belief(self, logits: Tensor) -> Belief:
        if self.spec.head == "bernoulli":
            return Bernoulli(logits)
        evidence = EVIDENCE[self.spec.evidence](logits)
        prior = self.spec.prior
        return Beta(prior + evidence[:, :1], prior + evidence[:, 1:], prior)

    def belief(self, images: Tensor) -> Belief:
        """Return the belief; see ``forward``."""
        belief: Belief = self(images)
        return belief

    def weights(self) -> bytes:
        """Return all weights and statistics."""
        return save({name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()})

    def save(self, path: Path | str, *, weights: bytes | None = None) -> Path:
        """Write ``model.safetensors`` and ``model.json`` into the folder ``path``, made if absent, and return it.

        Each file is written under a temporary name and renamed, the description with the hash of the weights last.
        ``weights`` are those that ``weights()`` returned at some time; by default those of now.
        """
        folder = Path(path)
        weights = self.weights() if weights is None else weights
        with replacing(folder / "model.safetensors") as temporary:
            temporary.write_bytes(weights)
        about = {"format": FORMAT, **asdict(self.spec), "sha256": hashlib.sha256(weights).hexdigest()}
        write_json(folder / "model.json", about)
        return folder

    @staticmethod
    def load(path: Path | str, *, head: str | None = None) -> "Segmenter":
        """Return the segmenter saved in the folder ``path``, on the CPU, in eval mode.

        Raises:
            MissingFileError: if the folder or one of its two files is not there.
            ModelError: if a file is damaged, of another version, or not of the head ``head``; ``None`` takes any.
        """
        folder = Path(path)
        run = folder.parent if folder.name == "model" else folder
        if not (folder / "model.json").is_file() and (run / "checkpoints").is_dir():
            raise MissingFileError(
                f"the training in '{run}' has not finished; run the same command again (trustseg train or study) to "
                "resume it"
            )
        if not folder.is_dir():
            raise MissingFileError(f"no model folder '{folder}'; check the path")
        for name in ("model.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise MissingFileError(
                    f"no {name} in '{folder}'; give the 'model' folder written by 'trustseg train' or 'trustseg study'"
                )
        spec, digest = _read_description(folder / "model.json")
        if head is not None and head != spec.head:
            raise ModelError(
                f"'{folder}' has a {spec.head} head, not a {head} head; set model.head={spec.head} or give another "
                "model"
            )
        with torch.random.fork_rng(devices=[]):  # the first weights are random, and overwritten
            segmenter = Segmenter(spec, _network(spec))
        weights = (folder / "model.safetensors").read_bytes()
        try:
            tensors = load(weights)
        except SafetensorError as error:
            raise ModelError(
                f"'{folder / 'model.safetensors'}' is damaged; copy both files from the same run"
            ) from error
        if odd := _difference(tensors, segmenter.state_dict()):
            raise ModelError(
                f"'{folder / 'model.safetensors'}' does not match model.json ({odd}), which describes a "
                f"{spec.head} {spec.architecture} on {spec.encoder}; copy both files from the same run"
            )
        segmenter.load_state_dict(tensors)
        if digest is not None and digest != hashlib.sha256(weights).hexdigest():
            raise ModelError(
                f"'{folder / 'model.safetensors'}' holds other weights than those model.json was written for "
                "(its sha256 differs); copy both files from the same run"
            )
        return segmenter.eval()


def _difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return where the tensors of a file differ first from those of a network, nothing where they fit."""
    for name, tensor in expected.items():
        if name not in found:
            return f"'{name}' is missing"
        if found[name].shape != tensor.shape:
            return f"'{name}' has shape {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
    return next((f"there is no place for '{name}'" for name in found if name not in expected), "")


def _read_description(path: Path) -> tuple[SegmenterSpec, str | None]:
    """Read and check a model's description; return it and the hash of its weights, if it holds one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format")
        if version == FORMAT:
            digest = content.pop("sha256", None)
            spec = _spec_of(content)
            return spec, digest
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"'{path}' is not a model description ({error}); copy it again from the run") from error
    raise ModelError(f"'{path}' has format {version}, expected {FORMAT}; train it again or update trustseg")


def _spec_of(content: dict[str, Any]) -> SegmenterSpec:
    """Return the description that a file holds; a TypeError if a field is unknown or of another type.

    ``mean`` and ``deviation`` may be single numbers, as earlier versions wrote them.
    """
    for field in fields(SegmenterSpec):
        if field.name not in content:
            continue
        value = content[field.name]
        several = get_origin(field.type) is tuple
        kind: Any = get_args(field.type)[0] if several else field.type
        items = value if several and isinstance(value, list) else [value]
        allowed = (int, float) if kind is float else kind
        if not all(isinstance(item, allowed) and not isinstance(item, bool) for item in items):
            raise TypeError(f"{field.name} is {value!r}")
        content[field.name] = tuple(items) if several else value
    return SegmenterSpec(**content)


def _network(spec: SegmenterSpec) -> nn.Module:
    """Build the network of ``spec`` with random weights, checking its parts."""
    if spec.architecture not in ARCHITECTURES:
        raise unknown_name("architecture", spec.architecture, ARCHITECTURES)
    if spec.head not in HEADS:
        raise unknown_name("head", spec.head, HEADS)
    if spec.evidence not in EVIDENCE:
        raise unknown_name("evidence", spec.evidence, EVIDENCE)
    if spec.channels not in (1, 3):
        raise ModelError(f"a model has 1 or 3 channels, got {spec.channels}; set data.channels=1 for grey images")
    if not (spec.size > 0 and 0 < spec.prior < math.inf and all(0 < value < math.inf for value in spec.deviation)):
        raise ModelError(
            f"size, prior and deviation must be above 0 and finite, got {spec.size}, {spec.prior} and "
            f"{spec.deviation}; use 224, 1.0 and (0.25,)"
        )
    if len(spec.mean) not in (1, 3) or len(spec.mean) != len(spec.deviation):
        raise ModelError(
            f"mean and deviation must hold 1 or 3 values each, got {len(spec.mean)} and {len(spec.deviation)}"
        )
    architecture, shape = ARCHITECTURES[spec.architecture], _shape_of(spec)
    network = architecture(spec.encoder, channels=max(spec.channels, len(spec.mean)), outputs=HEADS[spec.head], **shape)
    if spec.dropout != 0:
        place_dropout(network, spec.dropout)
    return network


def _shape_of(spec: SegmenterSpec) -> dict[str, object]:
    """Return depth and decoder widths where the architecture takes them; a ModelError if one that it lacks is set."""
    usual: dict[str, object] = {"depth": DEEPEST, "decoder_channels": ()}
    taken = usual.keys() & signature(ARCHITECTURES[spec.architecture]).parameters
    for name in usual.keys() - taken:
        if (value := getattr(spec, name)) != usual[name]:
            having = ", ".join(each for each, build in ARCHITECTURES.items() if name in signature(build).parameters)
            raise ModelError(f"model.{name}={value} is only for {having}, not {spec.architecture}; remove it")
    return {name: getattr(spec, name) for name in taken}


def build_segmenter(
    *,
    architecture: str = "unet",
    encoder: str = "resnet18",
    head: str = "bernoulli",
    channels: int = 1,
    size: int = 224,
    prior: float = 1.0,
    dropout: float = 0.0,
    depth: int = DEEPEST,
    decoder_channels: tuple[int, ...] = (),
    mean: tuple[float, ...] = (0.5,),
    deviation: tuple[float, ...] = (0.25,),
    evidence: str = "softplus",
    accept_noncommercial: bool = False,
) -> Segmenter:
    """Return a segmenter with random weights; the arguments are those of ``SegmenterSpec``.

    Args:
        accept_noncommercial: whether encoders under non-commercial terms may be used.

    Raises:
        UnknownNameError: if a name is not known.
        ModelError: if the parts do not fit each other or the licence was not accepted.
    """
    check_licence(encoder, accept_noncommercial=accept_noncommercial)
    spec = SegmenterSpec(
        architecture,
        encoder,
        head,
        channels=channels,
        size=size,
        prior=prior,
        mean=tuple(mean),
        deviation=tuple(deviation),
        dropout=float(dropout),
        depth=depth,
        decoder_channels=tuple(decoder_channels),
        evidence=evidence,
    )
    return Segmenter(spec, _network(spec))
