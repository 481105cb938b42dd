"""What the tests of beliefs share."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief, Beta

TOLERANCE = {torch.float64: (1e-9, 2e-12), torch.float32: (1e-4, 1e-6)}  # rtol, atol of the vectors


def value(belief: Belief, name: str) -> Tensor:
    return belief.probability if name == "probability" else belief.uncertainty(name)


def beta(alpha: float, beta: float, *, prior: float = 1.0, dtype: torch.dtype = torch.float64) -> Beta:
    return Beta(torch.tensor([alpha], dtype=dtype), torch.tensor([beta], dtype=dtype), prior)
