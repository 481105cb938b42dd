from itertools import pairwise

import pytest
import torch
from tests.shifts.films import seeded

from trustseg.shifts import SHIFTS, Shift
from trustseg.shifts.foreign import leads_cover, text_markers_cover


@pytest.mark.parametrize("shape", [(256, 256), (200, 257), (128, 90)])
def test_text_lies_in_the_outer_twelfth(shape: tuple[int, int]) -> None:
    cover = text_markers_cover(torch.zeros(40, 1, *shape), 5, seeded())
    assert set(cover.flatten().tolist()) == {0.0, 1.0}
    rows, columns = (slice(round(0.12 * side) + 1, -round(0.12 * side) - 1) for side in shape)
    assert cover[..., rows, columns].sum() == 0
    rims = (cover[..., :16, :], cover[..., -16:, :], cover[..., :16], cover[..., -16:])
    assert all(rim.sum() > 0 for rim in rims)
    assert all(5 * 2 <= strokes <= 6 * 4 * 35 * 4 for strokes in cover.sum(dim=(1, 2, 3)).tolist())


def test_text_is_brighter_than_the_film_but_never_darkens_it() -> None:
    film = torch.full((1, 1, 256, 256), 0.99)
    assert torch.equal(SHIFTS["text_markers"](film, 5, seeded()), film)
    shifted = SHIFTS["text_markers"](torch.zeros_like(film), 5, seeded())
    assert sorted(set(shifted.flatten().tolist())) == [0.0, pytest.approx(0.95)]


@pytest.mark.parametrize("cover", [text_markers_cover, leads_cover])
@pytest.mark.parametrize("size", [64, 256])
def test_things_are_added_one_after_the_other(cover: Shift, size: int) -> None:
    images = torch.zeros(4, 1, size, size)
    covers = [cover(images, severity, seeded()) for severity in range(1, 6)]
    for fewer, more in pairwise(covers):
        assert (more >= fewer).all()
        assert (more.sum(dim=(1, 2, 3)) > fewer.sum(dim=(1, 2, 3))).all()


def test_a_wire_hangs_from_the_top_and_ends_in_a_disc() -> None:
    images = torch.zeros(16, 1, 256, 256)
    cover = leads_cover(images, 1, seeded())[:, 0]
    assert (cover[:, 0].amax(dim=1) > 0.5).all()  # touches the top edge
    solid = torch.nn.functional.avg_pool2d(cover[:, None], 5, stride=1)
    assert (solid.amax(dim=(1, 2, 3)) > 0.999).all()  # a wire is 2 px wide, only the disc fills 5 x 5
    # Every row between the top and the disc is crossed.
    for picture in cover:
        disc = torch.nn.functional.avg_pool2d(picture[None, None], 5, stride=1)[0, 0]
        row = int((disc > 0.999).any(dim=1).nonzero()[0])
        assert (picture[:row].amax(dim=1) > 0.75).all()


def test_leads_blend_towards_white() -> None:
    black = SHIFTS["leads"](torch.zeros(2, 1, 256, 256), 5, seeded())
    cover = leads_cover(black, 5, seeded())
    torch.testing.assert_close(black, 0.75 * 0.95 * cover)
