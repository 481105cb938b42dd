"""A phantom follows from its seed, patient and session alone, and looks as a film does."""

import json
from pathlib import Path

import numpy as np
import pytest

from trustseg.data.phantom import phantom
from trustseg.data.phantom.lesions import SEEN_GREY
from trustseg.errors import DataError


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


FILMS = json.loads((Path(__file__).parents[2] / "golden" / "phantoms.json").read_text())["films"]


def sampled(text: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), dtype=np.uint8)


@pytest.mark.parametrize("patient", FILMS)
def test_phantoms_stay_as_they_were(patient: str) -> None:
    made, kept = phantom(0, int(patient), 1, size=64), FILMS[patient]
    assert made.view == kept["view"]
    for found, name in ((made.image, "image"), (made.ambiguity, "ambiguity")):
        same = found[::4, ::4].ravel() == sampled(kept[name])
        assert same.mean() > 0.97  # the letters on a film depend on the version of FreeType
    assert (made.mask[::4, ::4].ravel() == np.unpackbits(sampled(kept["mask"]))).mean() > 0.99


def test_seed_patient_and_session_each_change_the_image() -> None:
    first = phantom(0, 1, 1, size=32).image
    for other in (phantom(1, 1, 1, size=32), phantom(0, 2, 1, size=32), phantom(0, 1, 2, size=32)):
        assert not np.array_equal(first, other.image)
    np.testing.assert_array_equal(first, phantom(0, 1, 1, size=32).image)


def test_images_of_a_patient_resemble_each_other_more_than_those_of_others() -> None:
    films = [[phantom(0, patient, session, size=32).image.ravel() for session in (1, 2)] for patient in range(40)]
    same = np.mean([np.corrcoef(a, b)[0, 1] for a, b in films])
    others = np.mean([np.corrcoef(films[k][0], films[k - 1][1])[0, 1] for k in range(40)])
    assert same > others + 0.03


@pytest.mark.parametrize("patient", [2, 5, 8])
def test_another_size_shows_the_same_phantom(patient: int) -> None:
    large, small = phantom(4, patient, 1, size=192), phantom(4, patient, 1, size=64)
    shrunk = large.image.reshape(64, 3, 64, 3).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.image.ravel())[0, 1] > 0.97
    assert np.abs(shrunk - small.image).mean() < 6
    assert dice(large.mask[1::3, 1::3], small.mask) > 0.95
    assert np.abs(large.ambiguity[1::3, 1::3].astype(int) - small.ambiguity).mean() < 2


@pytest.mark.parametrize("size", [32, 37, 1024])
def test_any_size_works(size: int) -> None:
    made = phantom(0, 3, 1, size=size)
    assert made.image.shape == made.mask.shape == made.ambiguity.shape == (size, size)
    assert [made.image.dtype.name, made.mask.dtype.name, made.ambiguity.dtype.name] == ["uint8", "bool", "uint8"]


def test_some_masks_are_empty_and_the_others_have_the_usual_extent() -> None:
    made = [phantom(7, patient, 1, size=32) for patient in range(300)]
    extent = np.array([each.mask.mean() for each in made])
    low, median, high = np.quantile(extent, [0.1, 0.5, 0.9])
    assert 0.02 < (extent == 0).mean() < 0.085
    assert low < 0.03
    assert 0.08 < median < 0.14
    assert 0.22 < high < 0.34
    ambiguous = np.mean([((each.ambiguity > 25) & (each.ambiguity < 230)).mean() for each in made])
    assert 0.03 < ambiguous < 0.12


def test_a_lesion_brightens_its_place() -> None:
    brighter = []
    for patient in range(30):
        ill, healthy = phantom(0, patient, 1, size=48), phantom(0, patient, 1, size=48, infected=False)
        assert not healthy.mask.any()
        assert not healthy.ambiguity.any()
        certain = ill.ambiguity > 240
        if certain.any():
            brighter.append((ill.image.astype(float) - healthy.image)[certain].mean())
    assert len(brighter) > 15
    assert min(brighter) > SEEN_GREY


@pytest.mark.parametrize(("seed", "patient", "session"), [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_bad_keys_are_explained(seed: int, patient: int, session: int) -> None:
    with pytest.raises(DataError, match="is -1, expected a whole number of at least 0"):
        phantom(seed, patient, session)
