"""A segmenter: normalisation, network and head in one module that turns images into a belief."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import pad

from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.errors import MissingFileError, ModelError, ShapeError
from trustseg.files import replacing
from trustseg.models.architectures import DEEPEST, check_licence
from trustseg.models.spec import EVIDENCE, STRIDE, SegmenterSpec, network_of, read_spec, write_spec

__all__ = ["Segmenter", "build_segmenter"]


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
            shape = tuple(images.shape)
            raise ShapeError(f"images must be (B, {self.spec.channels}, H, W), got {shape}; correct data.channels")
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
        write_spec(self.spec, folder / "model.json", digest=hashlib.sha256(weights).hexdigest())
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
                f"the training in '{run}' has not finished; run the same command (trustseg train or study) to resume it"
            )
        if not folder.is_dir():
            raise MissingFileError(f"no model folder '{folder}'; check the path")
        for name in ("model.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise MissingFileError(
                    f"no {name} in '{folder}'; give the 'model' folder written by 'trustseg train' or 'trustseg study'"
                )
        spec, digest = read_spec(folder / "model.json")
        if head is not None and head != spec.head:
            raise ModelError(f"'{folder}' has a {spec.head} head, not a {head} head; set model.head={spec.head}")
        with torch.random.fork_rng(devices=[]):  # the first weights are random, and overwritten
            segmenter = Segmenter(spec, network_of(spec))
        file = folder / "model.safetensors"
        weights, advice = file.read_bytes(), "copy both files from the same run"
        try:
            tensors = load(weights)
        except SafetensorError as error:
            raise ModelError(f"'{file}' is damaged; {advice}") from error
        if odd := _difference(tensors, segmenter.state_dict()):
            raise ModelError(
                f"'{file}' does not match model.json ({odd}), which describes a {spec.head} {spec.architecture} on "
                f"{spec.encoder}; {advice}"
            )
        segmenter.load_state_dict(tensors)
        if digest is not None and digest != hashlib.sha256(weights).hexdigest():
            raise ModelError(f"'{file}' holds other weights than those of model.json (its sha256 differs); {advice}")
        return segmenter.eval()


def _difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return where the tensors of a file differ first from those of a network, nothing where they fit."""
    for name, tensor in expected.items():
        if name not in found:
            return f"'{name}' is missing"
        if found[name].shape != tensor.shape:
            return f"'{name}' has shape {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
    return next((f"there is no place for '{name}'" for name in found if name not in expected), "")


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
    return Segmenter(spec, network_of(spec))
