import numpy as np
import pytest
import torch
from tests.evaluation.packs import pack_of, small_segmenter

from trustseg.errors import BeliefError
from trustseg.evaluation.beliefs import beliefs_of

ROWS = np.array([6, 1, 5, 2, 0])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 99])
@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_the_rows_come_in_their_order_in_batches_without_gradients(head: str, batch_size: int) -> None:
    pack, model = pack_of(), small_segmenter(head).eval()
    found = list(beliefs_of(model, pack, ROWS, batch_size=batch_size))
    assert [len(masks) for _, masks in found] == [len(ROWS[at : at + batch_size]) for at in range(0, 5, batch_size)]
    masks = torch.cat([masks for _, masks in found])
    assert masks.dtype == torch.float32
    np.testing.assert_array_equal(masks, pack.masks[ROWS])
    odds = torch.cat([belief.log_odds for belief, _ in found])
    assert not odds.requires_grad
    with torch.no_grad():
        expected = model.belief(torch.from_numpy(pack.images[ROWS]).float() / 255)
    torch.testing.assert_close(odds, expected.log_odds)


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_a_broken_model_is_told(head: str) -> None:
    model = small_segmenter(head).eval()
    for weights in model.parameters():
        weights.data.fill_(torch.nan)
    with pytest.raises(BeliefError, match="nan"):
        next(beliefs_of(model, pack_of(), ROWS, batch_size=2))
