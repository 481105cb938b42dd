import pytest
import torch

from trustseg.errors import ConfigError
from trustseg.metrics import lesion_counts, lesion_f1


def test_lesions_are_counted_by_edges_and_corners() -> None:
    masks, prediction = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    masks[0, 0, :2, :2] = 1
    masks[0, 0, 2, 2] = 1  # touches the first by a corner: one lesion of five pixels
    masks[0, 0, 6:, 6:] = 1  # missed
    prediction[0, 0, 0, 0] = 1  # a fifth of the first
    prediction[0, 0, 5, 0] = 1  # on nothing
    counts = lesion_counts(prediction, masks)
    assert [counts.reference[0].item(), counts.found[0].item()] == [2, 1]
    assert [counts.predicted[0].item(), counts.false[0].item()] == [2, 1]
    assert counts.sensitivity[0] == 0.5
    assert counts.precision[0] == 0.5
    assert lesion_f1(prediction, masks)[0] == 0.5
    assert counts.sensitivity[1].isnan()
    assert lesion_f1(prediction, masks)[1].isnan()
    assert lesion_counts(prediction, masks, overlap=0.2).found[0] == 1
    assert lesion_counts(prediction, masks, overlap=0.21).found[0] == 0


def test_one_empty_mask_is_zero_not_undefined() -> None:
    empty, full = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert lesion_f1(empty, full).tolist() == [0.0]
    assert lesion_f1(full, empty).tolist() == [0.0]
    assert lesion_f1(full, full).tolist() == [1.0]


@pytest.mark.parametrize("overlap", [0.0, 1.5, float("nan")])
def test_an_overlap_outside_its_range_is_refused(overlap: float) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        lesion_counts(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), overlap=overlap)
