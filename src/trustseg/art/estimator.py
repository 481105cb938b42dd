"""A segmentation model as an estimator of the Adversarial Robustness Toolbox."""

from functools import partial
from typing import Any

import numpy as np
import torch
from art.estimators import BaseEstimator, LossGradientsMixin, NeuralNetworkMixin
from numpy.typing import NDArray
from torch import Tensor, nn

from trustseg.attacks import Model, isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.search import Search
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError, ShapeError

__all__ = ["Array", "Segmentation"]

Array = NDArray[Any]


def _bernoulli(module: nn.Module, images: Tensor) -> Belief:
    logits = module(images)
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != 1:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ShapeError(
            f"the module must return logits (B, 1, H, W), got {got}; "
            "pick the map of the foreground, of two classes the difference of their logits"
        )
    return Bernoulli(logits)


class Segmentation(LossGradientsMixin, NeuralNetworkMixin, BaseEstimator):  # type: ignore[misc]  # ART has no types
    """A segmentation model as ART sees it: images in [0, 1], binary masks, an objective to increase.

    Gradients are taken with respect to the images only, in float32 and eval mode; the model is left as found. ART has
    no notion of progress, so objectives that depend on it see 0 throughout. Missing masks are an AttackError.

    Args:
        input_shape: (C, H, W).
        device: where the model is.
    """

    estimator_params = BaseEstimator.estimator_params + NeuralNetworkMixin.estimator_params

    def __init__(
        self,
        model: Model,
        *,
        input_shape: tuple[int, int, int],
        objective: str | Objective = "cross_entropy",
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(model=model, clip_values=(0.0, 1.0), channels_first=True, preprocessing=None)
        self._input_shape = input_shape
        self._objective = objective
        self._device = torch.device(device)

    @staticmethod
    def of_logits(
        module: nn.Module,
        *,
        input_shape: tuple[int, int, int],
        objective: str | Objective = "cross_entropy",
        device: torch.device | str = "cpu",
    ) -> "Segmentation":
        """Return an estimator of a module with one logit per pixel, (B, 1, H, W); another raises a ShapeError."""
        model = partial(_bernoulli, module)  # attacks find the module in a partial and put it into eval mode
        return Segmentation(model, input_shape=input_shape, objective=objective, device=device)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        return self._input_shape

    def predict(self, x: Array, batch_size: int = 128, **_: object) -> NDArray[np.float32]:
        """Return foreground probabilities (N, 1, H, W) float32 of images ``x`` (N, C, H, W) in [0, 1]."""
        with isolated(self.model), torch.no_grad():
            batches = torch.split(self._images(x), batch_size)
            return np.concatenate([self.model(batch).probability.float().cpu().numpy() for batch in batches])

    def loss_gradient(self, x: Array, y: Array | None, **_: object) -> NDArray[np.float32]:
        """Return the gradient (N, C, H, W) of the objective of images ``x`` and reference masks ``y`` (N, 1, H, W)."""
        with isolated(self.model):
            search = self._search(x, y)
            gradient: NDArray[np.float32] = search.result(search.gradient(search.images, progress=0.0)).cpu().numpy()
        return gradient

    def compute_loss(self, x: Array, y: Array | None, **_: object) -> NDArray[np.float32]:
        """Return the objective (N,) of images ``x`` (N, C, H, W) and reference masks ``y`` (N, 1, H, W)."""
        with isolated(self.model):
            search = self._search(x, y)
            values: NDArray[np.float32] = search.result(search.value(search.images, progress=0.0)).cpu().numpy()
        return values

    def fit(self, x: Array, y: Array, **_: object) -> None:
        """Raise: a model is trained by trustseg."""
        raise AttackError("an estimator of ART cannot train a model here, expected a trained one; run: trustseg train")

    def get_activations(self, x: Array, layer: int | str, batch_size: int, framework: bool = False) -> Array:
        """Raise: a belief has no layers."""
        raise AttackError(
            "an attack asked for the activations of a layer, which a belief does not have; "
            "use one that needs gradients or queries only, such as ProjectedGradientDescent"
        )

    def _images(self, x: Array) -> Tensor:
        """Return ``x`` as float32 on the device; ART's projection leaves [0, 1] by rounding, which is put right."""
        images = torch.as_tensor(np.asarray(x, dtype=np.float32), device=self._device)
        inside = images.clamp(0, 1)
        return inside if (images - inside).abs().max() <= 1e-6 else images

    def _search(self, x: Array, y: Array | None) -> Search:
        """Return a checked search at ``x``; its model has to be isolated by the caller."""
        if y is None:
            raise AttackError("y is None, expected reference masks (N, 1, H, W) of 0 and 1; pass generate(x, masks)")
        masks = torch.as_tensor(np.asarray(y, dtype=np.float32))
        return Search(self.model, self._images(x), masks, eps=0.0, objective=self._objective, keep_best=False)
