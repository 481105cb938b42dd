"""Attack a segmentation model with the Adversarial Robustness Toolbox; needs pip install 'trustseg[art]'.

Run: python examples/art_attack.py [MODEL], the folder of a model that trustseg trained on one-channel images; without
it a small network is fitted to the images first. The images are phantoms: the figures say nothing about patients.
"""

import sys

import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescent
from torch import Tensor, nn

from trustseg.art import Segmentation
from trustseg.data.phantom import phantom
from trustseg.metrics import dice
from trustseg.models import Segmenter


def fitted(images: Tensor, masks: Tensor, *, features: int = 1024) -> nn.Module:
    """Return a network with one logit per pixel, fitted to these images.

    Random filters, a rectifier and a linear layer that predicts patches of 4 x 4 pixels. Only the last layer is fitted,
    by ridge regression in closed form, so that the result hardly depends on the machine.
    """
    first = nn.Conv2d(1, features, 25, stride=4, padding=11)
    last = nn.ConvTranspose2d(features, 1, 4, stride=4, bias=False)
    network = nn.Sequential(first, nn.ReLU(), last)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        first.weight[:] = torch.randn(first.weight.shape, generator=generator) / 25
        first.bias = nn.Parameter(-first.weight.sum(dim=(1, 2, 3)) * torch.rand(features, generator=generator))
        seen = network[:2](images).movedim(1, 3).flatten(0, 2).double()
        wanted = nn.functional.pixel_unshuffle(2 * masks - 1, 4).movedim(1, 3).flatten(0, 2).double()
        gram = seen.T @ seen + 0.1 * torch.eye(features, dtype=torch.float64)
        last.weight[:] = 10 * torch.linalg.solve(gram, seen.T @ wanted).view(features, 1, 4, 4)
    return network


segmenter = Segmenter.load(sys.argv[1]) if len(sys.argv) > 1 else None
size = segmenter.spec.size if segmenter else 64
made = [phantom(seed=0, patient=patient, session=1, size=size) for patient in range(8)]
images = np.stack([one.image for one in made])[:, None].astype(np.float32) / 255
masks = np.stack([one.mask for one in made])[:, None].astype(np.float32)

if segmenter:
    model = Segmentation(segmenter, input_shape=(1, size, size))
else:  # any module with one logit a pixel
    network = fitted(torch.from_numpy(images), torch.from_numpy(masks))
    model = Segmentation.of_logits(network, input_shape=(1, size, size))
attack = ProjectedGradientDescent(model, eps=8 / 255, eps_step=2 / 255, max_iter=10, batch_size=16, verbose=False)
attacked = attack.generate(images, masks)  # NumPy arrays, images in [0, 1], masks 0 or 1
for name, shown in (("clean", images), ("attacked", attacked)):
    predicted = torch.from_numpy(model.predict(shown)) > 0.5
    print(f"{name}: mean per-image Dice {dice(predicted, torch.from_numpy(masks)).nanmean():.3f}")
