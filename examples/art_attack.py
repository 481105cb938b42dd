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


def fitted(images: Tensor, masks: Tensor) -> nn.Module:
    """Return a network with one logit a pixel, fitted to these images."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 32, 9, stride=4, padding=4), nn.BatchNorm2d(32), nn.ReLU()]
    layers += [nn.Conv2d(32, 32, 9, padding=4), nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, stride=4)]
    network = nn.Sequential(*layers)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(images), masks).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network


segmenter = Segmenter.load(sys.argv[1]) if len(sys.argv) > 1 else None
size = segmenter.spec.size if segmenter else 64
made = [phantom(seed=0, patient=patient, session=1, size=size) for patient in range(16)]
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
