"""Lines, letters and vessels drawn with a pen."""

import numpy as np
import pytest

from trustseg.data.phantom.fields import stream
from trustseg.data.phantom.strokes import TEXTURE, draw_lines, draw_markers, draw_vessels, vessel_tree


def test_vessels_grow_thinner_from_two_hila() -> None:
    tree = vessel_tree(stream(0, 5))
    assert tree.shape == (20 * (2 + 2 * 2 + 2 * 4 + 3 * 8), 5)  # 20 vessels, forked after steps 2, 4 and 6
    roots = tree[-20:]
    np.testing.assert_allclose(np.abs(roots[:, 0]), 0.16)
    assert (np.sign(roots[:, 0]) == np.repeat([-1, 1], 10)).all()
    assert tree[:, 4].max() == roots[:, 4].max() < 0.9
    assert tree[:, 4].min() > 0
    length = np.hypot(tree[:, 2] - tree[:, 0], tree[:, 3] - tree[:, 1])
    assert 0.075 * 0.7 <= length.min() <= length.max() <= 0.075 * 1.3
    starts = {tuple(point) for point in tree[:-20, :2].round(9)}
    assert starts <= {tuple(point) for point in tree[:, 2:4].round(9)}  # each goes on where another ended


def test_a_vessel_is_drawn_where_it_runs() -> None:
    straight = np.array([[-0.5, 0.25, 0.5, 0.25, 0.8]])
    grain = draw_vessels(straight[:0], np.random.default_rng(0))
    drawn = draw_vessels(straight, np.random.default_rng(0)) - grain
    rows, columns = drawn.sum(1), drawn.sum(0)
    assert drawn.shape == (TEXTURE, TEXTURE)
    assert np.argmax(rows) == pytest.approx((0.25 + 1) / 2 * TEXTURE, abs=3)
    middle = (columns * np.arange(TEXTURE)).sum() / columns.sum()
    beads = np.mean([-0.5, -0.25, 0.0, 0.25])  # the next segment begins where this one ends
    assert middle == pytest.approx((beads + 1) / 2 * TEXTURE - 0.5, abs=0.01)


@pytest.mark.parametrize("size", [1, 40, 256, 300])
def test_lines_and_letters_are_maps_of_shades(size: int) -> None:
    for seed in range(4):
        cover, grey = draw_markers(stream(0, seed), size)
        assert cover.shape == grey.shape == (size, size)
        assert (grey >= 0).all()
        assert (grey <= cover + 1e-6).all()
        assert cover.max() <= 1
        lines = draw_lines(stream(0, seed), size)
        assert lines.shape == (size, size)
        assert lines.dtype == np.float32
        assert 0 <= lines.min() <= lines.max() <= 1
        assert lines.max() > 0
