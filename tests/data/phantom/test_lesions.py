"""What a reader marks, against the probabilities of the map."""

import numpy as np

from trustseg.data.phantom import phantom, read
from trustseg.data.phantom.fields import gaussian_field, stream


def test_each_pixel_is_marked_with_probability_eta() -> None:
    chance = phantom(0, 5, 1, size=40).ambiguity
    assert ((chance > 25) & (chance < 230)).sum() > 40
    draws, generator = 6000, np.random.default_rng(1)
    count = np.sum([read(chance, generator) for _ in range(draws)], axis=0)
    eta = chance / 255
    assert (count[chance == 0] == 0).all()
    assert (count[chance == 255] == draws).all()
    open_ = (chance > 0) & (chance < 255)
    z = (count - draws * eta)[open_] / np.sqrt(draws * (eta * (1 - eta))[open_])
    assert np.abs(z).max() < 5
    assert 0.5 < z.std() < 1.5


def test_neighbours_agree_more_than_independent_pixels_would() -> None:
    even, generator = np.full((64, 64), 128, np.uint8), np.random.default_rng(0)
    masks = np.stack([read(even, generator) for _ in range(200)])
    assert (masks[:, :, 1:] != masks[:, :, :-1]).mean() < 0.1
    assert masks.mean(axis=(1, 2)).std() > 0.1


def test_certain_pixels_leave_no_choice() -> None:
    for size in (1, 2, 31):
        for level, marked in ((0, False), (255, True)):
            assert (read(np.full((size, size), level, np.uint8), np.random.default_rng(size)) == marked).all()


def test_a_smooth_field_is_standard_normal_at_every_pixel() -> None:
    generator = stream(0, 1)
    fields = np.stack([gaussian_field(generator, 6, 17) for _ in range(8000)])
    assert fields.dtype == np.float32
    np.testing.assert_allclose(fields.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(fields.var(axis=0), 1, atol=0.09)
