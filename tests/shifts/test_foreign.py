import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.interpolate import BPoly
from scipy.spatial import KDTree
from tests.shifts.films import seeded

from trustseg.shifts import SHIFTS
from trustseg.shifts.foreign import _GLYPHS, leads_cover, text_markers_cover
from trustseg.shifts.table import uniform


def printed(drawn: list[list[float]], height: int, width: int) -> NDArray[np.float32]:
    """Return strings drawn one after the other, cut off at the border."""
    dot = max(1, round(max(height, width) / 128))
    picture = np.zeros((height, width), dtype=np.float32)
    for length, *glyphs, side, along, across in drawn:
        firsts = [5 * int(glyph * 30) for glyph in glyphs[: 1 + int(4 * length)]]
        columns = [column for first in firsts for column in (*_GLYPHS[first : first + 5], 0)][:-1]
        text = np.array([[column >> row & 1 for column in columns] for row in range(7)]).repeat(dot, 0).repeat(dot, 1)
        whole, other = (height, width) if side < 0.5 else (width, height)
        inset = int(across * max(0, 0.12 * whole - 7 * dot))
        rim = inset if side % 0.5 < 0.25 else max(0, whole - 7 * dot - inset)
        place = int(along * max(0, other - text.shape[1]))
        text, top, left = (text, rim, place) if side < 0.5 else (np.rot90(text), place, rim)
        window = picture[top : top + text.shape[0], left : left + text.shape[1]]
        window[:] = np.maximum(window, text[: window.shape[0], : window.shape[1]])
    return picture


def hung(drawn: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return wires of which every pixel knows the nearest of their points."""
    deviation, radius = max(0.4, 0.8 * max(height, width) / 256), 4 * max(height, width) / 256
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    cover = np.zeros((height, width))
    for a, b, c, d, e, f, g in drawn:
        shares = [
            (0.1 + 0.8 * a, 0),
            (0.1 + 0.8 * b, 0.4 * c),
            (0.1 + 0.8 * d, 0.2 + 0.6 * e),
            (0.2 + 0.6 * f, 0.3 + 0.5 * g),
        ]
        corners = np.array(shares) * (width, height)
        curve = BPoly(corners[:, None], [0, 1])(np.linspace(0, 1, 1024))  # in the basis of Bernstein, as Bezier's
        cover = np.maximum(cover, np.exp(-0.5 * (KDTree(curve).query(centres)[0] / deviation) ** 2))
        cover = np.maximum(cover, np.clip(radius + 0.5 - np.hypot(*(centres - corners[3]).T).T, 0, 1))
    return cover


@pytest.mark.parametrize("shape", [(256, 256), (224, 150), (65, 200), (5, 40), (17, 3), (1, 1)])
@pytest.mark.parametrize(("severity", "count"), [(1, 1), (5, 6)])
def test_strings_are_those_drawn_one_after_the_other(shape: tuple[int, int], severity: int, count: int) -> None:
    images = torch.zeros(9, 1, *shape)
    drawn = uniform(images, seeded(), 6, 8)[:, :count].tolist()
    expected = np.stack([printed(strings, *shape) for strings in drawn])
    np.testing.assert_array_equal(text_markers_cover(images, severity, seeded())[:, 0].numpy(), expected)


@pytest.mark.parametrize("shape", [(128, 128), (90, 131), (5, 40), (17, 3), (1, 1)])
@pytest.mark.parametrize(("severity", "count"), [(1, 1), (5, 6)])
def test_a_wire_is_as_opaque_as_its_nearest_point_makes_it(shape: tuple[int, int], severity: int, count: int) -> None:
    images = torch.zeros(3, 1, *shape)
    drawn = uniform(images, seeded(), 6, 7)[:, :count].double().numpy()
    expected = np.stack([hung(wires, *shape) for wires in drawn])
    np.testing.assert_allclose(leads_cover(images, severity, seeded())[:, 0].numpy(), expected, rtol=0, atol=1e-4)


def test_text_is_brighter_than_the_film_but_never_darkens_it() -> None:
    film = torch.full((1, 1, 256, 256), 0.99)
    assert torch.equal(SHIFTS["text_markers"](film, 5, seeded()), film)
    shifted = SHIFTS["text_markers"](torch.zeros_like(film), 5, seeded())
    assert sorted(set(shifted.flatten().tolist())) == [0.0, pytest.approx(0.95)]


def test_leads_blend_towards_white() -> None:
    black = SHIFTS["leads"](torch.zeros(2, 1, 256, 256), 5, seeded())
    cover = leads_cover(black, 5, seeded())
    torch.testing.assert_close(black, 0.75 * 0.95 * cover)
