"""Encoder weights from a file: nothing is downloaded during training, evaluation or reporting."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trustseg.errors import MissingFileError, ModelError
from trustseg.models.segmenter import Segmenter

__all__ = ["WeightsMatch", "fetch_encoder_weights", "load_encoder_weights"]


@dataclass(frozen=True, slots=True)
class WeightsMatch:
    """Which tensors of a weights file were used.

    Attributes:
        loaded: names of the encoder's tensors that the file provided.
        missing: names of the encoder's tensors that keep their random values.
        unused: names in the file that the encoder has no place for.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def load_encoder_weights(segmenter: Segmenter, path: Path | str) -> WeightsMatch:
    """Load the encoder's weights from a safetensors file, in place.

    A first layer of three channels is summed into one where the segmenter takes grey images, which gives what the
    three-channel encoder would say of that grey image.

    Args:
        segmenter: its encoder's tensors are overwritten.
        path: a ``.safetensors`` file, as ``trustseg data fetch-encoder`` writes it.

    Returns:
        Which tensors were loaded, missing and unused.

    Raises:
        MissingFileError: if there is no such file.
        ModelError: if the file cannot be read or fits less than half of the encoder.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(
            f"no weights file '{file}'; nothing is downloaded during training; where there is a network, run "
            f"'trustseg data fetch-encoder {segmenter.spec.encoder} {segmenter.spec.encoder}.safetensors' once and "
            "give that file as model.weights, or train from scratch with model.weights=null"
        )
    try:
        offered = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"'{file}' is not a readable safetensors file ({error}); convert it or fetch it again"
        ) from error
    encoder = segmenter.network.encoder
    if not isinstance(encoder, nn.Module):
        raise ModelError(f"{segmenter.spec.architecture} has no encoder to load weights into; set model.weights=null")
    expected = encoder.state_dict()
    accepted = {
        name: fitted for name, value in offered.items() if (fitted := _fitted(value, expected.get(name))) is not None
    }
    if 2 * len(accepted) < len(expected):
        raise ModelError(
            f"'{file}' fits {len(accepted)} of the {len(expected)} tensors of encoder '{segmenter.spec.encoder}'; "
            "give the weights of the same encoder"
        )
    encoder.load_state_dict(accepted, strict=False)
    return WeightsMatch(
        loaded=tuple(sorted(accepted)),
        missing=tuple(sorted(set(expected) - set(accepted))),
        unused=tuple(sorted(set(offered) - set(accepted))),
    )


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


def fetch_encoder_weights(encoder: str, target: Path | str, *, weights: str = "imagenet") -> Path:
    """Download an encoder's published weights once and write them as safetensors.

    Args:
        encoder: an encoder of segmentation_models.pytorch.
        target: the file to write.
        weights: which published weights, e.g. ``"imagenet"``.

    Returns:
        The file written.

    Raises:
        ModelError: if there are no such weights or they cannot be downloaded.
    """
    import segmentation_models_pytorch as smp

    file = Path(target)
    try:
        network = smp.encoders.get_encoder(encoder, in_channels=3, weights=weights)
    except Exception as error:  # the hub's client raises whatever its transport raises
        raise ModelError(
            f"the '{weights}' weights of encoder '{encoder}' could not be fetched ({type(error).__name__}); "
            "a network connection was expected; run this command on a machine that has one and copy the file"
        ) from error
    temporary = file.with_name(file.name + ".partial")
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items() if torch.is_tensor(value)}, temporary
    )
    os.replace(temporary, file)
    return file
