"""Tables that several files look at, and the beliefs behind them worked out by numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.evaluation.packs import pack_of, small_segmenter
from tests.evaluation.tables import ROWS, Tables, measured


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return measured(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def clean() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Alpha, beta and reference of every pixel (image, pixel), by numpy from the network's logits."""
    pack, segmenter = pack_of(), small_segmenter().eval()
    images = torch.from_numpy(pack.images[ROWS].astype(np.float32)) / 255
    with torch.no_grad():
        logits = segmenter.network((images - 0.5) / 0.25).double().numpy()
    alpha, beta = 1 + np.log1p(np.exp(np.moveaxis(logits, 1, 0).reshape(2, len(ROWS), -1)))
    return alpha, beta, pack.masks[ROWS].reshape(len(ROWS), -1) == 1
