from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trustseg.export.special import digamma, lgamma


@pytest.mark.parametrize(("ours", "of_torch"), [(digamma, torch.digamma), (lgamma, torch.lgamma)])
def test_they_are_the_functions_of_torch(
    ours: Callable[[Tensor], Tensor], of_torch: Callable[[Tensor], Tensor]
) -> None:
    x = torch.logspace(-3, 8, 5000, dtype=torch.float64)
    torch.testing.assert_close(ours(x), of_torch(x), rtol=1e-10, atol=1e-10)
    assert ours(x.float()).dtype == torch.float32
