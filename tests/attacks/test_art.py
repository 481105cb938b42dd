"""The attacks against those of the Adversarial Robustness Toolbox, where it is installed."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from tests.attacks.victims import Victim, discs, trained

from trustseg.attacks import OBJECTIVES, fgsm, pgd, r_fgsm

pytest.importorskip("art")
pytestmark = [pytest.mark.oracle, pytest.mark.parametrize("head", ["bernoulli", "beta"])]

EPS = 8 / 255
estimators = import_module("art.estimators")
evasion = import_module("art.attacks.evasion")


class Segmentation:
    """The least the toolbox needs to attack a segmenter, to be put before its own base classes."""

    model: Victim

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1, 20, 23)

    def loss_gradient(self, x: Any, y: Any, **_: object) -> Any:  # noqa: ANN401  # the toolbox's own signature
        images = torch.from_numpy(x).requires_grad_()
        values = OBJECTIVES["cross_entropy"](self.model(images), torch.from_numpy(y), 0.0)
        return torch.autograd.grad(values.sum(), images)[0].numpy()

    def predict(self, x: Any, **_: object) -> Any:  # noqa: ANN401
        return self.model(torch.from_numpy(x)).probability.detach().numpy()

    def fit(self, *_: object, **__: object) -> None:
        raise NotImplementedError

    get_activations = compute_loss = fit


def segmentation(victim: Victim) -> Any:  # noqa: ANN401  # the toolbox has no types
    """Return the victim as an estimator of the toolbox."""
    bases = (estimators.LossGradientsMixin, estimators.NeuralNetworkMixin, estimators.BaseEstimator)
    options = {"estimator_params": bases[2].estimator_params + bases[1].estimator_params}
    estimator: Any = type("Estimator", (Segmentation, *bases), options)
    return estimator(model=victim, clip_values=(0.0, 1.0), channels_first=True, preprocessing=None)


def test_fgsm_is_the_same(head: str) -> None:
    images, masks = discs(6, seed=3)
    victim = trained(head)
    theirs = evasion.FastGradientMethod(segmentation(victim), eps=EPS).generate(images.numpy(), masks.numpy())
    ours = fgsm(victim, images, masks, eps=EPS, keep_best=False).numpy()
    assert np.array_equal(ours, theirs)


def test_r_fgsm_is_their_fgsm_after_our_random_step(head: str) -> None:
    images, masks = discs(6, seed=3)
    victim = trained(head)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign()
    start = (images + EPS / 2 * noise).clamp(0, 1)
    theirs = evasion.FastGradientMethod(segmentation(victim), eps=EPS / 2).generate(start.numpy(), masks.numpy())
    ours = r_fgsm(victim, images, masks, eps=EPS, generator=torch.Generator().manual_seed(0), keep_best=False)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("norm", "number", "eps"), [("linf", np.inf, EPS), ("l2", 2, 0.5)])
def test_pgd_is_the_same(head: str, norm: str, number: float, eps: float) -> None:
    images, masks = discs(6, seed=3)
    victim = trained(head)
    attack = evasion.ProjectedGradientDescentNumpy(
        segmentation(victim), norm=number, eps=eps, eps_step=eps / 4, max_iter=10, verbose=False
    )
    theirs = attack.generate(images.numpy(), masks.numpy())
    ours = pgd(
        victim,
        images,
        masks,
        eps=eps,
        norm=norm,  # type: ignore[arg-type]  # both are valid
        steps=10,
        step_size=eps / 4,
        keep_best=False,
    ).numpy()
    if norm == "linf":
        assert np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
