import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trustseg.data.phantom import Phantom, phantom, read, write_phantoms
from trustseg.data.phantom.fields import gaussian_field, stream
from trustseg.data.phantom.lesions import SEEN_GREY, ambiguity
from trustseg.data.phantom.strokes import draw_markers
from trustseg.errors import DataError

NAME = re.compile(r"sub-S(?P<patient>\d{5})_ses-E\d{5}_run-1_bp-chest_vp-(?:pa|ap)_dx\.png")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("made") / "set", train=9, test=5, control=3, size=48, seed=3)


def fingerprints(root: Path) -> dict[str, str]:
    files = (file for file in root.rglob("*.png"))
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        assert image.mode == "L"
        return np.asarray(image)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_folders_and_names_are_those_of_qata(written: Path) -> None:
    patients = []
    for split, count in (("Train Set", 9), ("Test Set", 5)):
        names = sorted(file.name for file in (written / split / "Images").iterdir())
        assert len(names) == count
        masks = sorted(file.name for file in (written / split / "Ground-truths").iterdir())
        maps = sorted(file.name for file in (written / split / "Ambiguity").iterdir())
        assert masks == [f"mask_{name}" for name in names]
        assert maps == [f"ambiguity_{name}" for name in names]
        matches = [NAME.fullmatch(name) for name in names]
        patients.append({match["patient"] for match in matches if match})
        assert all(matches)
    controls = sorted((written / "Control_Group" / "Control_Group_I").iterdir())
    patients.append({file.name[5:10] for file in controls})
    assert len(controls) == 3
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert {file.name for file in written.iterdir()} == {"Train Set", "Test Set", "Control_Group", "phantoms.json"}
    facts = json.loads((written / "phantoms.json").read_text())
    assert {key: facts[key] for key in ("seed", "size", "train", "test", "control")} == {
        "seed": 3,
        "size": 48,
        "train": 9,
        "test": 5,
        "control": 3,
    }


def test_files_hold_what_the_pure_function_returns(written: Path) -> None:
    file = min((written / "Train Set" / "Images").glob("sub-S00001_*"))
    made = phantom(3, 1, 1, size=48)
    assert f"vp-{made.view}_" in file.name
    np.testing.assert_array_equal(pixels(file), made.image)
    mask = pixels(written / "Train Set" / "Ground-truths" / f"mask_{file.name}")
    np.testing.assert_array_equal(mask, 255 * made.mask.astype(np.uint8))
    chance = pixels(written / "Train Set" / "Ambiguity" / f"ambiguity_{file.name}")
    np.testing.assert_array_equal(chance, made.ambiguity)


def test_two_processes_write_the_same_bytes_as_one(written: Path, tmp_path: Path) -> None:
    again = write_phantoms(tmp_path / "again", train=9, test=5, control=3, size=48, seed=3, jobs=2)
    assert fingerprints(again) == fingerprints(written)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(written: Path, tmp_path: Path) -> None:
    small = fingerprints(write_phantoms(tmp_path / "small", train=4, test=5, control=0, size=48, seed=3))
    large = fingerprints(written)
    assert small == {name: large[name] for name in small}
    assert not (tmp_path / "small" / "Control_Group").exists()


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


def test_a_smooth_field_is_standard_normal_at_every_pixel() -> None:
    generator = np.random.default_rng(0)
    fields = np.stack([gaussian_field(generator, 6, 17) for _ in range(8000)])
    np.testing.assert_allclose(fields.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(fields.var(axis=0), 1, atol=0.09)


def test_neighbours_agree_more_than_independent_pixels_would() -> None:
    even, generator = np.full((64, 64), 128, np.uint8), np.random.default_rng(0)
    masks = np.stack([read(even, generator) for _ in range(200)])
    assert (masks[:, :, 1:] != masks[:, :, :-1]).mean() < 0.1
    assert masks.mean(axis=(1, 2)).std() > 0.1


@pytest.mark.parametrize(("level", "marked"), [(0, False), (255, True)])
def test_certain_pixels_leave_no_choice(level: int, marked: bool) -> None:
    for size in (1, 2, 31):
        assert (read(np.full((size, size), level, np.uint8), np.random.default_rng(size)) == marked).all()


def test_ambiguity_grows_with_visible_contrast() -> None:
    visible = np.linspace(0, 60, 200, dtype=np.float32)[None]
    chance = ambiguity(visible)[0].astype(int)
    assert chance[0] == 0
    assert chance[-1] == 255
    assert (np.diff(chance) >= 0).all()
    assert ambiguity(np.full((1, 1), SEEN_GREY, np.float32)).item() == 128


def test_some_masks_are_empty_and_the_others_have_the_usual_extent() -> None:
    made = [phantom(7, patient, 1, size=32) for patient in range(600)]
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
        certain = ill.ambiguity > 240
        if certain.any():
            brighter.append((ill.image.astype(float) - healthy.image)[certain].mean())
    assert len(brighter) > 15
    assert min(brighter) > SEEN_GREY


def test_controls_have_no_infection() -> None:
    made = [phantom(0, patient, 1, size=32, infected=False) for patient in range(30)]
    assert not any(each.mask.any() or each.ambiguity.any() for each in made)


def test_a_phantom_is_frozen() -> None:
    made = phantom(0, 0, 0, size=32)
    with pytest.raises(AttributeError):
        made.view = "pa"  # type: ignore[misc]  # the assignment under test
    assert isinstance(made, Phantom)


def test_letters_fit_the_frame() -> None:
    cover, grey = draw_markers(stream(0, 0), 64)
    assert cover.shape == grey.shape == (64, 64)
    assert 0 <= cover.min() < cover.max() <= 1
    assert (grey <= cover + 1e-6).all()


def test_progress_counts_to_the_total(tmp_path: Path) -> None:
    seen: list[int] = []
    write_phantoms(tmp_path / "set", train=20, test=10, control=5, size=32, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 35


def test_an_empty_folder_may_be_filled_but_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "set"
    target.mkdir(parents=True)
    assert write_phantoms(target, train=1, test=0, control=0, size=32) == target
    before = fingerprints(target)
    with pytest.raises(DataError, match=r"is not empty, expected a new or empty folder; remove it"):
        write_phantoms(target, train=2, size=32)
    assert fingerprints(target) == before
    assert [entry.name for entry in target.parent.iterdir()] == ["set"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", train=3, test=0, control=0, size=32, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 31}, "size is 31 px, expected 32 to 1024; change size"),
        ({"size": 4096}, "size is 4096 px"),
        ({"train": -1}, "train is -1 images, expected 0 or more"),
        ({"control": -2}, "control is -2 images"),
        ({"train": 0, "test": 0, "control": 0}, "are all 0, expected at least one image"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
        ({"jobs": 0}, "jobs is 0, expected at least 1 process"),
    ],
)
def test_bad_arguments_are_explained(tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_phantoms(tmp_path / "set", **options)  # type: ignore[arg-type]  # only whole numbers are in the table
    assert list(tmp_path.iterdir()) == []


def test_bad_places_are_explained(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("here")
    with pytest.raises(DataError, match="is a file, expected a new or empty folder; choose another path"):
        write_phantoms(file, train=1)
    with pytest.raises(DataError, match=r"cannot be written .*; free some space or choose another path"):
        write_phantoms(file / "below", train=1)


@pytest.mark.parametrize(("seed", "patient", "session"), [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_bad_keys_are_explained(seed: int, patient: int, session: int) -> None:
    with pytest.raises(DataError, match="is -1, expected a whole number of at least 0"):
        phantom(seed, patient, session)


def test_workers_need_not_load_torch() -> None:
    code = "import sys, trustseg.data.phantom; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_time_grows_no_faster_than_pixels() -> None:
    def seconds(size: int) -> float:
        start = time.process_time()
        for patient in range(40):
            phantom(0, patient, 1, size=size)
        return time.process_time() - start

    seconds(64)
    assert seconds(256) < 3 * 16 * seconds(64)
