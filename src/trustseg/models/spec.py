"""What a segmenter is built from, as it stands in a file, and the network that follows from it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from inspect import signature
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.nn.functional import softplus

from trustseg.errors import ModelError, unknown_name
from trustseg.files import write_json
from trustseg.models.architectures import ARCHITECTURES, DEEPEST, place_dropout

__all__ = ["EVIDENCE", "HEADS", "STRIDE", "SegmenterSpec", "network_of", "read_spec", "write_spec"]

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
_FORMAT: Final = 1  # version of the model folder; raised when its layout changes


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


def write_spec(spec: SegmenterSpec, path: Path, *, digest: str) -> None:
    """Write a description, with the hash of the weights that go with it."""
    write_json(path, {"format": _FORMAT, **asdict(spec), "sha256": digest})


def read_spec(path: Path) -> tuple[SegmenterSpec, str | None]:
    """Return a description and the hash of its weights, None in older files; a ModelError if it is none.

    ``mean`` and ``deviation`` may be single numbers, as earlier versions wrote them.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, digest = content.pop("format"), content.pop("sha256", None)
        if version == _FORMAT:
            if odd := content.keys() - {field.name for field in fields(SegmenterSpec)}:
                raise TypeError(f"unknown: {', '.join(odd)}")
            for name in ("mean", "deviation"):
                if isinstance(content.get(name), int | float):
                    content[name] = [content[name]]
            return TypeAdapter(SegmenterSpec).validate_json(json.dumps(content), strict=True), digest
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problem = str(error)
        if isinstance(error, ValidationError):
            found = error.errors()[0]
            problem = f"{found['loc'][0]} is {found['input']!r}"
        raise ModelError(f"'{path}' is not a model description ({problem}); copy it again from the run") from error
    raise ModelError(f"'{path}' has format {version}, expected {_FORMAT}; train it again or update trustseg")


def network_of(spec: SegmenterSpec) -> nn.Module:
    """Return the network of a description, with random weights; a ModelError if its parts do not fit each other."""
    if spec.architecture not in ARCHITECTURES:
        raise unknown_name("architecture", spec.architecture, ARCHITECTURES)
    if spec.head not in HEADS:
        raise unknown_name("head", spec.head, HEADS)
    if spec.evidence not in EVIDENCE:
        raise unknown_name("evidence", spec.evidence, EVIDENCE)
    if spec.channels not in (1, 3):
        raise ModelError(f"a model has 1 or 3 channels, got {spec.channels}; set data.channels=1 for grey images")
    if not (spec.size > 0 and 0 < spec.prior < math.inf and all(0 < value < math.inf for value in spec.deviation)):
        given = f"{spec.size}, {spec.prior} and {spec.deviation}"
        raise ModelError(f"size, prior and deviation must be above 0 and finite, got {given}")
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
