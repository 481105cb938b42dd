"""Training with and without adversarial examples."""

from trustseg.training.adversarial import MixedBatch, choose, image_scores, mixed_batch
from trustseg.training.run import train
from trustseg.training.schedules import fraction_at, ramp_at

__all__ = ["MixedBatch", "choose", "fraction_at", "image_scores", "mixed_batch", "ramp_at", "train"]
