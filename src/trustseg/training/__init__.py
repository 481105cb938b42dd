"""Training with and without adversarial examples.

The following holds for every function of the package.

Args:
    segmenter: run in eval mode unless it is trained; mode, statistics and gradients are left as found.
    images: (B, C, H, W) in [0, 1].
    masks: reference masks (B, 1, H, W), each value 0 or 1, NaN where ignored.
    belief: belief about ``masks``, maps (B, 1, H, W).
    eps: L-infinity budget in pixel units of [0, 1], one number or one per pixel (B, 1, H, W).
    selection: how images are chosen, a name in ``SELECTIONS``, or ``threshold``.
    measure: pixel measure of an image's uncertainty.
    aggregation: map to image score.
    epoch: counted from 0.
    generator: source of all randomness.
"""

from trustseg.training.mixed_batch import MixedBatch, choose, image_scores, mixed_batch
from trustseg.training.run import train

__all__ = ["MixedBatch", "choose", "image_scores", "mixed_batch", "train"]
