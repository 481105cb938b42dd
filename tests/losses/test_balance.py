"""The mean over the pixels of an image, plain and balanced."""

import pytest
import torch

from trustseg.losses.balance import image_mean

LOSS_MAPS = torch.tensor([[[[4.0, 1.0], [2.0, 3.0]]]]).repeat(4, 1, 1, 1)
MASKS = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[1.0, 0.0], [1.0, 0.0]]], [[[0.0] * 2] * 2], [[[1.0] * 2] * 2]])


def test_by_hand() -> None:
    assert image_mean(LOSS_MAPS, MASKS).tolist() == [2.5] * 4
    # (4 + (1 + 2 + 3) / 3) / 2, ((4 + 2) / 2 + (1 + 3) / 2) / 2, background only, foreground only.
    assert image_mean(LOSS_MAPS, MASKS, balance="image").tolist() == pytest.approx([3.0, 2.5, 2.5, 2.5])


def test_infinite_losses_do_not_turn_into_nan() -> None:
    losses = torch.tensor([[[[1.0, float("inf")]]]])
    masks = torch.tensor([[[[1.0, 0.0]]]])
    assert image_mean(losses, masks, balance="image").item() == float("inf")
