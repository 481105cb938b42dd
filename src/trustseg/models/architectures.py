"""The networks a segmenter can be built on: images in, one map of logits per output out.

A builder returns a network with random weights from (B, channels, H, W) to (B, outputs, H, W), H and W multiples of 32;
nothing is ever downloaded here (see ``models/weights.py``).

Args:
    encoder: its name, see ``check_encoder``.
    channels: of the images.
    outputs: maps of logits.
    depth: how often the encoder halves its input: ``DEEPEST``, or less where the architecture allows it.
    decoder_channels: channels of the decoder's stages, deepest first; empty: the architecture's own.
"""

import difflib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from trustseg.entries import Entry
from trustseg.errors import ModelError, UnknownNameError, unknown_name

__all__ = [
    "ARCHITECTURES",
    "DEEPEST",
    "NONCOMMERCIAL",
    "ArchitectureFacts",
    "check_encoder",
    "check_licence",
    "place_dropout",
]

# Encoders whose code or weights are licensed for non-commercial use only, by prefix of their name.
NONCOMMERCIAL: Final[Mapping[str, str]] = {
    "mit_b": "NVIDIA Source Code License, non-commercial",
    "mobileone": "Apple sample code licence, own terms",
}


DEEPEST: Final = 5  # how often an encoder halves its input
WIDTHS: Final = (256, 128, 64, 32, 16)
"""Channels of a U-Net's decoder, deepest first; a shallow one has the last of them."""


@dataclass(frozen=True, slots=True)
class ArchitectureFacts:
    """Facts about a network for a run.

    Attributes:
        pools_to_a_pixel: whether it averages each image to one pixel, which batch normalisation cannot learn from in a
            batch of one.
    """

    pools_to_a_pixel: bool = False


_OF_THE_MODEL: Final = frozenset({"channels", "outputs", "depth", "decoder_channels"})  # keys of the model's settings


def check_licence(encoder: str, *, accept_noncommercial: bool) -> None:
    """Raise a ModelError if an encoder has non-commercial terms that were not accepted."""
    for prefix, terms in NONCOMMERCIAL.items():
        if encoder.removeprefix("tu-").startswith(prefix) and not accept_noncommercial:
            raise ModelError(f"encoder '{encoder}' is under '{terms}'; set model.accept_noncommercial=true to accept")


def check_encoder(encoder: str) -> None:
    """Raise an UnknownNameError unless segmentation_models.pytorch has the encoder, or timm (``tu-`` in front).

    Only names of the installed libraries pass: for ``hf-hub:`` or ``local-dir:`` timm would query a hub or read files.
    """
    import segmentation_models_pytorch as smp
    import timm

    own = smp.encoders.get_encoder_names()
    of_timm = {f"tu-{name}" for name in (*timm.list_models(), *timm.list_pretrained())}
    if encoder in (of_timm if encoder.startswith("tu-") else own):
        return
    near = difflib.get_close_matches(encoder, [*own, *of_timm], n=3, cutoff=0.7)
    near = [f"tu-{encoder}"] if f"tu-{encoder}" in of_timm else near
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise UnknownNameError(
        f"unknown encoder '{encoder}'; {hint}list them with: python -c 'import segmentation_models_pytorch as smp, "
        "timm; print(smp.encoders.get_encoder_names(), timm.list_models())'; those of timm begin with tu- here"
    )


def _smp_network(class_name: str, encoder: str, *, channels: int, outputs: int, **shape: object) -> nn.Module:
    """Build a segmentation_models.pytorch network without looking for weights anywhere."""
    import segmentation_models_pytorch as smp

    check_encoder(encoder)
    try:
        network: nn.Module = getattr(smp, class_name)(
            encoder_name=encoder, encoder_weights=None, in_channels=channels, classes=outputs, **shape
        )
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{class_name} cannot be built on encoder '{encoder}': {error}; choose another model.encoder"
        ) from error
    for layer in network.get_submodule("segmentation_head").modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)  # p = 1/2 everywhere on average before training; DeepLab leaves it random
    return network


def unet(
    encoder: str, *, channels: int, outputs: int, depth: int = DEEPEST, decoder_channels: tuple[int, ...] = ()
) -> nn.Module:
    """Return a U-Net (Ronneberger et al., MICCAI 2015, arXiv:1505.04597), of 3 to 5 stages."""
    return _smp_network("Unet", encoder, channels=channels, outputs=outputs, **_stages(depth, decoder_channels))


def unet_plus_plus(
    encoder: str, *, channels: int, outputs: int, depth: int = DEEPEST, decoder_channels: tuple[int, ...] = ()
) -> nn.Module:
    """Return a U-Net++ (Zhou et al., DLMIA 2018, arXiv:1807.10165), of 3 to 5 stages."""
    return _smp_network("UnetPlusPlus", encoder, channels=channels, outputs=outputs, **_stages(depth, decoder_channels))


def _stages(depth: int, decoder_channels: tuple[int, ...]) -> dict[str, object]:
    """Return the options of a U-Net whose encoder halves its input ``depth`` times."""
    if not 3 <= depth <= DEEPEST:
        raise ModelError(f"a U-Net has 3 to {DEEPEST} stages, got {depth}; set model.depth={DEEPEST}")
    widths = decoder_channels or WIDTHS[-depth:]
    if len(widths) != depth or min(widths) < 1:
        usual = list(WIDTHS[-depth:])
        raise ModelError(f"model.decoder_channels is {list(widths)}: give {depth} positive numbers, such as {usual}")
    return {"encoder_depth": depth, "decoder_channels": widths}


def fpn(encoder: str, *, channels: int, outputs: int) -> nn.Module:
    """Return a feature pyramid network (Lin et al., CVPR 2017, arXiv:1612.03144)."""
    return _smp_network("FPN", encoder, channels=channels, outputs=outputs)


def deeplab_v3(encoder: str, *, channels: int, outputs: int) -> nn.Module:
    """Return a DeepLabV3 (Chen et al., 2017, arXiv:1706.05587)."""
    return _smp_network("DeepLabV3", encoder, channels=channels, outputs=outputs)


def deeplab_v3_plus(encoder: str, *, channels: int, outputs: int) -> nn.Module:
    """Return a DeepLabV3+ (Chen et al., ECCV 2018, arXiv:1802.02611)."""
    return _smp_network("DeepLabV3Plus", encoder, channels=channels, outputs=outputs)


class _Fcn(nn.Module):
    """torchvision's FCN, returning its map instead of a dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def encoder(self) -> nn.Module:
        """Return the backbone, under the name it has in segmentation_models.pytorch; not registered a second time."""
        backbone: nn.Module = self.network.get_submodule("backbone")
        return backbone

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)["out"]
        return logits


def fcn(encoder: str, *, channels: int, outputs: int) -> nn.Module:
    """Return a fully convolutional network (Long et al., CVPR 2015, arXiv:1411.4038) from torchvision."""
    from torchvision.models import segmentation

    builders = {"resnet50": segmentation.fcn_resnet50, "resnet101": segmentation.fcn_resnet101}
    if encoder not in builders:
        raise unknown_name("encoder for fcn", encoder, builders)
    network = builders[encoder](weights=None, weights_backbone=None, num_classes=outputs)
    first = network.backbone.conv1
    network.backbone.conv1 = nn.Conv2d(channels, first.out_channels, 7, stride=2, padding=3, bias=False)
    nn.init.zeros_(network.classifier[-1].bias)  # p = 1/2 everywhere before training, as in the other networks
    return _Fcn(network)


def place_dropout(network: nn.Module, rate: float) -> None:
    """Add a layer that drops whole channels before the last layers of a network of ``ARCHITECTURES``, in place.

    The layer has no weights and no other tensor changes its name, so that the weights of the network fit it with and
    without. In torchvision's FCN it replaces the existing dropout (rate 0.1).

    Reference:
        Tompson et al., "Efficient Object Localization Using Convolutional Networks", CVPR 2015, arXiv:1411.4280,
        section 3.2: neighbouring pixels are alike, so that dropping single ones would drop nothing.
    """
    if not 0 < rate < 1:
        raise ModelError(f"a dropout rate must lie between 0 and 1, got {rate}; the usual values are 0.1 to 0.5")
    if isinstance(network, _Fcn):
        network.network.get_submodule("classifier").register_module("3", nn.Dropout2d(rate))
        return
    head = getattr(network, "segmentation_head", None)
    if not isinstance(head, nn.Module):
        raise ModelError(f"a {type(network).__name__} has no segmentation_head to place dropout before; set rate 0")
    kept = [(name, layer) for name, layer in head.named_children() if name != "dropout"]
    network.segmentation_head = nn.Sequential(OrderedDict([("dropout", nn.Dropout2d(rate)), *kept]))


ARCHITECTURES: Final[Mapping[str, Entry[nn.Module, ArchitectureFacts]]] = {
    "deeplab_v3": Entry(deeplab_v3, "DeepLabV3", ArchitectureFacts(pools_to_a_pixel=True), _OF_THE_MODEL),
    "deeplab_v3_plus": Entry(deeplab_v3_plus, "DeepLabV3+", ArchitectureFacts(pools_to_a_pixel=True), _OF_THE_MODEL),
    "fcn": Entry(fcn, "FCN", ArchitectureFacts(), _OF_THE_MODEL),
    "fpn": Entry(fpn, "FPN", ArchitectureFacts(), _OF_THE_MODEL),
    "unet": Entry(unet, "U-Net", ArchitectureFacts(), _OF_THE_MODEL),
    "unet_plus_plus": Entry(unet_plus_plus, "U-Net++", ArchitectureFacts(), _OF_THE_MODEL),
}
