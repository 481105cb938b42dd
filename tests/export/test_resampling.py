import numpy as np
import pytest
import torch

from trustseg.data.resizing import Fit, image_area, resize_image
from trustseg.export.resampling import centred, resampling

SIZE = 24
SIDES = (1, 2, 5, 12, 23, 24, 25, 36, 48, 71, 300)


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_the_matrices_resize_as_the_data_are_resized(fit: Fit) -> None:
    """Every pixel is equal: smaller, larger, equal, thin and odd images."""
    rng = np.random.default_rng(0)
    for height in SIDES:
        for width in SIDES:
            pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
            area = image_area(width, height, size=SIZE, fit=fit)
            if fit == "pad":
                assert centred(height, width, size=SIZE) == tuple(area)
            rows, row_sum = resampling(height, area.height, start=area.top, size=SIZE)
            columns, column_sum = resampling(width, area.width, start=area.left, size=SIZE)
            total = rows @ torch.from_numpy(pixels).double() @ columns.T
            found = torch.round(total / (row_sum * column_sum)).byte().numpy()
            np.testing.assert_array_equal(found, resize_image(pixels, SIZE, fit))
