import pytest
import torch

from trustseg.errors import ConfigError
from trustseg.metrics import lesion_f1


def test_lesions_are_counted_by_edges_and_corners() -> None:
    masks, prediction = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    masks[0, 0, :2, :2] = 1
    masks[0, 0, 2, 2] = 1  # touches the first by a corner: one lesion of five pixels
    masks[0, 0, 6:, 6:] = 1  # missed
    prediction[0, 0, 0, 0] = 1  # a fifth of the first
    prediction[0, 0, 5, 0] = 1  # on nothing
    prediction[0, 0, 4, 3] = 1  # on nothing either
    for overlap, sensitivity in ((0.1, 1 / 2), (0.2, 1 / 2), (0.21, 0)):
        found = lesion_f1(prediction, masks, overlap=overlap)
        assert found[0].item() == pytest.approx(2 * sensitivity * (1 / 3) / (sensitivity + 1 / 3))
        assert found[1].isnan()


def test_one_empty_mask_is_zero_not_undefined() -> None:
    empty, full = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert lesion_f1(empty, full).tolist() == [0.0]
    assert lesion_f1(full, empty).tolist() == [0.0]
    assert lesion_f1(full, full).tolist() == [1.0]


@pytest.mark.parametrize("overlap", [0.0, 1.5, float("nan")])
def test_an_overlap_outside_its_range_is_refused(overlap: float) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        lesion_f1(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), overlap=overlap)
