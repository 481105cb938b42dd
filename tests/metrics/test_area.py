import torch
from sklearn.metrics import precision_score, recall_score

from trustseg.metrics import area_error, precision, sensitivity


def test_rates_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, masks = (torch.rand((20, 1, 4, 5), generator=generator) > 0.5 for _ in range(2))
    for row in range(20):
        truth, guess = masks[row].flatten().tolist(), prediction[row].flatten().tolist()
        expected = [f(truth, guess, zero_division=float("nan")) for f in (recall_score, precision_score)]
        found = [f(prediction, masks)[row].item() for f in (sensitivity, precision)]
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), equal_nan=True, check_dtype=False)


def test_an_empty_reference_or_prediction_is_undefined() -> None:
    empty, half = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    assert sensitivity(half, empty).isnan().all()
    assert precision(empty, half).isnan().all()
    assert area_error(half, empty).isnan().all()
    assert area_error(empty, half).tolist() == [-1.0]
    assert area_error(torch.ones_like(half), half).tolist() == [1.0]
