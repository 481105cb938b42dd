"""Bodies: where lungs, heart and diaphragm lie, and what stands behind a pixel."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trustseg.data.phantom.body import Anatomy, Body, build_anatomy, diaphragm, draw_body, lung_borders
from trustseg.data.phantom.fields import frame, stream

BODIES = [draw_body(stream(2, patient)) for patient in range(12)]


def anatomy_of(
    body: Body, *, size: int = 48, breath: float = 0.0, enlarged: float = 1.0, overlap: float = 0.0
) -> Anatomy:
    x, y = (np.ascontiguousarray(np.broadcast_to(part, (size, size))) for part in frame(size))
    return build_anatomy(body, x, y, breath=breath, enlarged=enlarged, overlap=overlap)


@pytest.mark.parametrize("left", [0.0, 1.0])
def test_the_lateral_border_lies_outside_below_the_apex(left: float) -> None:
    for body in BODIES:
        y = np.linspace(body.apex + 0.15, 0.6, 50)
        medial, lateral = lung_borders(body, y, left)
        assert (lateral > medial).all()
        assert (medial > 0).all()
        above, beyond = lung_borders(body, np.array([body.apex - 0.1]), left)
        assert beyond[0] < above[0]  # no lung above it
        widest, higher = (lung_borders(body, np.array([body.widest - up]), left)[1][0] for up in (0, 0.3))
        assert higher < widest == pytest.approx(body.lungs_width[int(left)])


def test_the_dome_of_the_diaphragm_is_its_highest_point() -> None:
    across = np.linspace(0, 1, 1001)
    for body in BODIES:
        for left, dome in zip((0.0, 1.0), body.domes, strict=True):
            height = diaphragm(body, across, left)
            assert across[np.argmin(height)] == pytest.approx(0.38, abs=0.01)  # y points downwards
            assert height.min() == pytest.approx(dome)
            assert height[-1] > dome + 0.5  # it falls off at the side


def inside(anatomy: Anatomy) -> NDArray[np.bool_]:
    return anatomy.depth > 0.3


def test_lungs_are_two_and_lie_between_apex_and_diaphragm() -> None:
    for body in BODIES:
        anatomy = anatomy_of(body)
        assert 0 <= anatomy.depth.min() <= anatomy.depth.max() <= 1
        deep = inside(anatomy)
        assert anatomy.y[deep].min() > body.apex
        floor = diaphragm(body, np.abs(anatomy.x), (anatomy.x > 0).astype(np.float32))
        assert (anatomy.y < floor + 0.03)[deep].all()
        assert not deep[np.abs(anatomy.x) < 0.5 * body.mediastinum].any()
        for side in (anatomy.x > 0, anatomy.x < 0):
            assert (deep & side).mean() > 0.03


def test_air_takes_from_the_tissue_and_bone_adds() -> None:
    for body in BODIES:
        anatomy = anatomy_of(body)
        deep, middle = inside(anatomy), np.abs(anatomy.x) < 0.1
        assert anatomy.tissue[deep].mean() < anatomy.tissue[middle & (anatomy.y > 0) & (anatomy.y < 0.5)].mean()
        assert anatomy.bones[deep].mean() > 0
        assert all(np.isfinite(part).all() for part in anatomy)


def test_a_deeper_breath_gives_more_lung_and_an_enlarged_heart_less() -> None:
    for body in BODIES:
        out, resting, deep = (inside(anatomy_of(body, breath=breath)).mean() for breath in (-0.15, 0.0, 0.15))
        assert out < resting < deep
    usual, large = (np.mean([inside(anatomy_of(body, enlarged=by)).mean() for body in BODIES]) for by in (1.0, 1.3))
    assert large < usual
