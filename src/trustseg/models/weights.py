"""Encoder weights from a file, an installed package or another model: training never downloads anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from trustseg.errors import MissingFileError, ModelError, unknown_name
from trustseg.files import replacing
from trustseg.models.architectures import check_encoder, check_licence
from trustseg.models.pretrained import installed_weights
from trustseg.models.segmenter import Segmenter

__all__ = ["EncoderWeights", "WeightsMatch", "fetch_encoder_weights", "load_encoder_weights", "read_encoder_weights"]

_FREE_LICENCES: Final = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit")
# Published weights of free encoders that are themselves for non-commercial use (CC BY-NC 4.0).
_NONCOMMERCIAL_WEIGHTS: Final = ("instagram", "ssl", "swsl")


@dataclass(frozen=True, slots=True, eq=False)
class EncoderWeights:
    """Weights of an encoder and how the images it was trained on were normalised.

    Attributes:
        tensors: by their name in the encoder.
        source: where they come from, for messages.
        mean: grey level that was subtracted from images in [0, 1], one for all channels or one for each of three; empty
            if unknown.
        deviation: what they were then divided by, as many.
    """

    tensors: dict[str, Tensor]
    source: str
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightsMatch:
    """Which tensors of a weights file were used.

    Attributes:
        loaded: names of the encoder's tensors that the file provided.
        missing: names of the encoder's tensors that keep their initial values; only counters of batches.
        unused: names in the file that the encoder has no place for, such as a classifier's.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def read_encoder_weights(source: Path | str, encoder: str) -> EncoderWeights:
    """Return the weights that an encoder starts from.

    Args:
        source: ``"imagenet"`` for those of an installed package (``trustseg[pretrained]``), a ``.safetensors`` file as
            ``trustseg data fetch-encoder`` writes it, or the folder of a model that was trained here.
        encoder: an encoder of segmentation_models.pytorch.

    Raises:
        MissingFileError: if there is no such file or folder.
        ModelError: if there is no package with weights of this encoder, or a file cannot be read.
    """
    path = Path(source)
    if source == "imagenet":
        tensors, package = installed_weights(encoder, _random_encoder(encoder).state_dict())
        return EncoderWeights(tensors, f"{package.distribution}", (package.mean,), (package.deviation,))
    if (path / "model.json").is_file():
        trained = Segmenter.load(path)
        return EncoderWeights(_encoder_of(trained).state_dict(), f"'{path}'", trained.spec.mean, trained.spec.deviation)
    if not path.is_file():
        raise MissingFileError(
            f"no weights file '{path}'; nothing is downloaded during training: set model.weights=imagenet for the "
            "weights of an installed package, or, where there is a network, run 'trustseg data fetch-encoder "
            f"{encoder} {encoder}.safetensors' and give that file, or start at random with model.weights=null"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            about = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
        mean, deviation = (tuple(map(float, about.get(key, "").split())) for key in ("mean", "deviation"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"'{path}' is not a readable safetensors file ({error}); convert it or fetch it again"
        ) from error
    return EncoderWeights(tensors, f"'{path}'", mean, deviation)


def load_encoder_weights(segmenter: Segmenter, weights: EncoderWeights | Path | str) -> WeightsMatch:
    """Load the weights of a segmenter's encoder, in place, and return which tensors were used.

    A first layer of three channels is summed into one where the segmenter's network takes one, which equals the
    three-channel encoder on three equal channels.

    Args:
        segmenter: its encoder's tensors are overwritten.
        weights: what ``read_encoder_weights`` returned or takes. If they say how images were normalised, the segmenter
            has to do the same (``build_segmenter(mean=..., deviation=...)``).

    Raises:
        ModelError: also if weights are not finite, lack a tensor of the encoder, are mostly of another, or if the
            segmenter normalises images differently.
    """
    if not isinstance(weights, EncoderWeights):
        weights = read_encoder_weights(weights, segmenter.spec.encoder)
    encoder = _encoder_of(segmenter)
    if weights.mean and (weights.mean, weights.deviation) != (segmenter.spec.mean, segmenter.spec.deviation):
        raise ModelError(
            f"the weights of {weights.source} expect images normalised by mean {weights.mean} and deviation "
            f"{weights.deviation}, the segmenter uses {segmenter.spec.mean} and {segmenter.spec.deviation}; build it "
            "with the former"
        )
    expected = encoder.state_dict()
    accepted = {
        name: fitted
        for name, value in weights.tensors.items()
        if (fitted := _fitted(value, expected.get(name))) is not None
    }
    match = WeightsMatch(
        loaded=tuple(sorted(accepted)),
        missing=tuple(sorted(set(expected) - set(accepted))),
        unused=tuple(sorted(set(weights.tensors) - set(accepted))),
    )
    _check_match(match, accepted, where=weights.source, encoder=segmenter.spec.encoder)
    encoder.load_state_dict(accepted, strict=False)
    return match


def _encoder_of(segmenter: Segmenter) -> nn.Module:
    encoder = segmenter.network.encoder
    if not isinstance(encoder, nn.Module):
        raise ModelError(f"{segmenter.spec.architecture} has no encoder to load weights into; set model.weights=null")
    return encoder


def _random_encoder(encoder: str) -> nn.Module:
    """Return the encoder for three channels; the global random state is left as found."""
    import segmentation_models_pytorch as smp

    check_encoder(encoder)
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = smp.encoders.get_encoder(encoder, in_channels=3, weights=None)
    return network


def _check_match(match: WeightsMatch, accepted: dict[str, Tensor], *, where: str, encoder: str) -> None:
    """Refuse a file that fits in part: missing tensors would silently stay random."""
    missing = [name for name in match.missing if not name.endswith("num_batches_tracked")]
    total = len(match.loaded) + len(match.missing)
    if missing:
        raise ModelError(
            f"{where} fits {len(match.loaded)} of the {total} tensors of encoder '{encoder}' and not '{missing[0]}'; "
            "give the weights of the same encoder"
        )
    if 3 * len(match.unused) > len(match.loaded):  # a classifier is less; resnet34 holds every name of resnet18
        raise ModelError(
            f"{where} holds {len(match.unused)} tensors that encoder '{encoder}' has no place for, such as "
            f"'{match.unused[0]}'; give the weights of the same encoder"
        )
    broken = [name for name, value in accepted.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ModelError(f"{where} holds NaN or infinity in '{broken[0]}'; fetch it again")


def _fitted(value: Tensor, place: Tensor | None) -> Tensor | None:
    """Return ``value`` as it fits into ``place``, or None."""
    if place is None:
        return None
    if value.shape == place.shape:
        return value
    grey = place.ndim == 4 and value.ndim == 4 and place.shape[1] == 1 and value.shape[1] == 3
    if grey and value.shape[2:] == place.shape[2:] and value.shape[0] == place.shape[0]:
        return value.sum(dim=1, keepdim=True)
    return None


def fetch_encoder_weights(
    encoder: str, target: Path | str, *, weights: str = "imagenet", accept_noncommercial: bool = False
) -> Path:
    """Download an encoder's published weights once and write them as safetensors, with how images were normalised.

    Args:
        encoder: an encoder of segmentation_models.pytorch.
        target: the file to write, which is returned.
        weights: which published weights, e.g. ``"imagenet"``; an encoder of timm (``tu-``) names them itself.
        accept_noncommercial: whether encoders and weights under non-commercial terms may be fetched.

    Raises:
        UnknownNameError: if there is no such encoder, or it has no such weights.
        ModelError: if they cannot be downloaded or their terms were not accepted.
    """
    import segmentation_models_pytorch as smp

    check_encoder(encoder)
    check_licence(encoder, accept_noncommercial=accept_noncommercial)
    if not accept_noncommercial:
        _check_weights_licence(encoder, weights)
    of_timm = encoder.startswith("tu-")
    if not of_timm and weights not in (published := smp.encoders.encoders[encoder]["pretrained_settings"]):
        raise unknown_name(f"weights of encoder '{encoder}'", weights, published)
    try:
        network = smp.encoders.get_encoder(encoder, in_channels=3, weights=True if of_timm else weights)
        settings = smp.encoders.get_preprocessing_params(encoder, pretrained=weights)
    except Exception as error:  # the hub's client raises whatever its transport raises
        raise ModelError(
            f"the '{weights}' weights of encoder '{encoder}' could not be fetched ({type(error).__name__}); "
            "run this command on a machine with a network connection and copy the file"
        ) from error
    scale = settings["input_range"][1]
    about = {
        key: " ".join(str(value / scale) for value in values)
        for key, values in (("mean", settings["mean"]), ("deviation", settings["std"]))
    }
    file = Path(target)
    with replacing(file) as temporary:
        tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
        temporary.write_bytes(save(tensors, metadata=about))
    return file


def _check_weights_licence(encoder: str, weights: str) -> None:
    """Refuse published weights whose terms are known and not free for any use."""
    terms: str | None = "CC BY-NC 4.0" if weights in _NONCOMMERCIAL_WEIGHTS else None
    if encoder.startswith("tu-"):
        import timm

        published = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        terms = published.license if published and published.license not in _FREE_LICENCES else None
    if terms is not None:
        raise ModelError(
            f"the '{weights}' weights of encoder '{encoder}' are licensed under '{terms}'; accept the terms explicitly "
            "if they fit your use, or choose other weights"
        )
