"""Training with and without adversarial examples."""

from trustseg.training.adversarial import MixedBatch, eps_at, image_scores, mixed_batch
from trustseg.training.run import train

__all__ = ["MixedBatch", "eps_at", "image_scores", "mixed_batch", "train"]
