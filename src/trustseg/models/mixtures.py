"""Models whose belief is a mixture: MC dropout and deep ensembles, the baselines with several passes.

Both are for prediction, attack and evaluation; they are trained as the segmenters that they hold. Members are Bernoulli
or Beta beliefs, in the order of samples or segmenters.
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import torch
from safetensors.torch import save
from torch import Tensor, nn

from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError, ModelError
from trustseg.models.architectures import place_dropout
from trustseg.models.inference import BeliefModel
from trustseg.models.segmenter import Segmenter
from trustseg.models.spec import SegmenterSpec
from trustseg.randomness import derived_generator

__all__ = ["DeepEnsemble", "MCDropout", "dropout_layers", "with_dropout"]

_CHANNELWISE: Final = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_DROPOUT: Final = (nn.Dropout, *_CHANNELWISE)


def with_dropout(segmenter: Segmenter, rate: float) -> Segmenter:
    """Return a copy of a segmenter, in the same mode, with a layer that drops channels before its last layers.

    ``save`` and ``Segmenter.load`` keep the layer; it replaces one placed before. ``rate`` and source:
    ``place_dropout``.

    """
    network = copy.deepcopy(segmenter.network)
    place_dropout(network, rate)
    return Segmenter(dataclasses.replace(segmenter.spec, dropout=float(rate)), network).train(segmenter.training)


def dropout_layers(
    model: nn.Module,
) -> list[tuple[str, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d]]:
    """Return the dropout layers of a model that drop something, each with its name."""
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, _DROPOUT) and 0 < layer.p < 1]


class MCDropout(nn.Module):
    """An equal mixture over thinned networks: one segmenter, sampled through its dropout layers.

    Only dropout layers sample; everything else, batch norm above all, is in eval mode, and stays so under ``train()``
    and inside ``attacks.isolated``. The masks are a function of ``seed``, sample and layer alone and are the same for
    every image of a batch, so that the belief about an image depends neither on the other images nor on earlier calls.
    The model is thus ``samples`` fixed networks, and an attack through it is exact. For an attacker who cannot know the
    masks, attack an ``MCDropout`` of another seed, with at least as many samples: expectation over transformations
    (Athalye et al., ICML 2018, arXiv:1802.00420). Fewer samples make a weak attack.

    Args:
        segmenter: a trained model with dropout layers; it is put into eval mode and its weights are shared.
        samples: thinned networks, >= 1, each one forward pass.
        rate: ``None`` samples the dropout layers that the model has, each at its own rate; a number in (0, 1) first
            places one before the last layers of a copy, see ``with_dropout``.
        seed: seed of all masks.

    Example:
        >>> from trustseg.models import build_segmenter
        >>> model = MCDropout(build_segmenter(encoder="resnet18"), samples=3, rate=0.2)
        >>> len(model.belief(torch.rand(1, 1, 32, 32)).members)
        3

    Reference:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, arXiv:1506.02142, section 4.
        Deviation: masks are shared between the images of a batch, and fixed by the seed.
    """

    def __init__(self, segmenter: Segmenter, *, samples: int = 20, rate: float | None = None, seed: int = 0) -> None:
        super().__init__()
        if samples < 1:
            raise ModelError(f"MC dropout needs at least 1 sample, got {samples}; the usual number is 20")
        self.segmenter = segmenter if rate is None else with_dropout(segmenter, rate)
        self.samples = samples
        self.seed = seed
        layers = dropout_layers(self.segmenter)
        self._masks = [[(layer, _Mask(layer.p, seed, n, name)) for name, layer in layers] for n in range(samples)]
        if not layers:
            spec = segmenter.spec
            raise ModelError(
                f"this {spec.architecture} on {spec.encoder} has no dropout layer; train with model.dropout=0.2, or "
                "give MCDropout a rate to add one"
            )
        self.eval()

    @property
    def passes(self) -> int:
        """Forward passes per belief."""
        return self.samples

    @property
    def spec(self) -> SegmenterSpec:
        """What the segmenter is built from."""
        return self.segmenter.spec

    def train(self, mode: bool = True) -> "MCDropout":
        """Stay in eval mode: batch norm must not learn from predictions."""
        super().train(False)
        return self

    def forward(self, images: Tensor) -> Mixture:
        """Return the mixture; a ModelError if the segmenter was put into train mode from outside."""
        if self.segmenter.training:
            raise ModelError("MC dropout needs the segmenter in eval mode; call segmenter.eval()")
        return Mixture([self._thinned(images, sample) for sample in range(self.samples)])

    def _thinned(self, images: Tensor, sample: int) -> Bernoulli | Beta:
        """Return the belief of one thinned network. The layers act through hooks, which eval mode does not stop."""
        with ExitStack() as stack:
            for layer, mask in self._masks[sample]:
                stack.enter_context(layer.register_forward_hook(mask))
            return _single(self.segmenter(images))

    def belief(self, images: Tensor) -> Mixture:
        """Return the mixture; see ``forward``."""
        mixture: Mixture = self(images)
        return mixture

    def weights(self) -> bytes:
        """Return the segmenter's weights, with samples and seed."""
        return _weights(self, samples=self.samples, seed=self.seed)


class _Mask:
    """A forward hook that multiplies the output of a dropout layer by the layer's mask in one sample.

    The mask of the last shape is kept, because a GPU would have to wait for each new one.
    """

    def __init__(self, rate: float, seed: int, sample: int, layer: str) -> None:
        self.rate = rate
        self.stream = (seed, "dropout", sample, layer)
        self._last: tuple[object, Tensor] | None = None

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        shape = output.shape[1:]
        if isinstance(layer, _CHANNELWISE):
            shape = torch.Size([shape[0], *[1] * (len(shape) - 1)])
        wanted = (shape, output.dtype, output.device)
        if self._last is None or self._last[0] != wanted:
            with torch.inference_mode(False):  # for later passes may carry gradients
                # On the CPU: equal on every device.
                drawn = torch.rand(shape, generator=derived_generator(*self.stream))
                kept = (drawn >= self.rate).to(output.device, output.dtype)
                self._last = wanted, kept / (1 - self.rate)
        return output * self._last[1]


class DeepEnsemble(nn.Module):
    """An equal mixture of the beliefs of several segmenters, each trained from another seed.

    Args:
        segmenters: at least one, calibrated or not; architectures and heads may differ.

    Example:
        >>> from trustseg.models import build_segmenter
        >>> ensemble = DeepEnsemble([build_segmenter(encoder="resnet18").eval() for _ in range(2)])
        >>> ensemble.belief(torch.rand(1, 1, 32, 32)).epistemic_variance().shape
        torch.Size([1, 1, 32, 32])

    Reference:
        Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS
        2017, arXiv:1612.01474, section 2.4. Deviation: no adversarial examples unless the segmenters saw them.
    """

    def __init__(self, segmenters: Sequence[BeliefModel]) -> None:
        super().__init__()
        if not segmenters:
            raise ModelError("a deep ensemble needs at least one segmenter, got none; load the models of a study")
        first, *others = (segmenter.spec for segmenter in segmenters)
        for number, spec in enumerate(others, start=2):
            if (spec.channels, spec.size) != (first.channels, first.size):
                raise ModelError(
                    f"model {number} of the ensemble takes {spec.channels} channels at {spec.size} px, the first "
                    f"{first.channels} at {first.size} px; combine models trained with one data.channels and data.size"
                )
        self.segmenters = nn.ModuleList(segmenters)  # type: ignore[arg-type]  # each is a module
        self.spec = first

    @property
    def passes(self) -> int:
        """Forward passes per belief, the number of segmenters."""
        return len(self.segmenters)

    def forward(self, images: Tensor) -> Mixture:
        """Return the mixture."""
        return Mixture([_single(segmenter(images)) for segmenter in self.segmenters])

    def belief(self, images: Tensor) -> Mixture:
        """Return the mixture; see ``forward``."""
        mixture: Mixture = self(images)
        return mixture

    def weights(self) -> bytes:
        """Return the weights of all segmenters, with a hash of each."""
        members: Any = self.segmenters
        return _weights(self, members=[_digest(member) for member in members])  # a calibration is no tensor


def _single(belief: object) -> Bernoulli | Beta:
    """Return the belief of one network; a mixture of mixtures would weigh their members unequally."""
    if not isinstance(belief, Bernoulli | Beta):
        raise BeliefError(f"a member of a mixture must return a Bernoulli or a Beta, got a {type(belief).__name__}")
    return belief


def _digest(member: BeliefModel) -> str:
    """Return a hash of everything that a member's beliefs depend on."""
    about = json.dumps(dataclasses.asdict(member.spec)).encode()
    return hashlib.sha256(about + member.weights()).hexdigest()


def _weights(model: nn.Module, **about: int | list[str]) -> bytes:
    """Return the tensors of ``model`` as the content of a safetensors file that also says ``about``."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    return save(tensors, metadata={"about": json.dumps(about)})
