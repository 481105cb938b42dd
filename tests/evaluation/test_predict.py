import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests import fake
from tests.evaluation.packs import small_segmenter
from tests.fake import save

from trustseg.beliefs import Beta
from trustseg.data.intensity import IntensityScale
from trustseg.data.inventory import SUFFIXES
from trustseg.data.resizing import image_area, resize_image
from trustseg.deferral import AreaInterval, FalseNegativeControl, expected_share
from trustseg.errors import BeliefError, DataError, MissingFileError
from trustseg.evaluation.loading import hash_of_model
from trustseg.evaluation.predict import image_files_of, predict
from trustseg.prediction_folder import path_from, read_prediction_folder
from trustseg.uncertainty import AGGREGATIONS


def noise(height: int, width: int, *more: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *more), dtype=np.uint8)


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_images_of_a_folder_in_order_and_nothing_else(tmp_path: Path) -> None:
    names = ["b.png", "a.JPG", "c.tiff", "d.bmp", "e.jpeg", "f.tif", "g.gif", "h.dcm", "i.DICOM"]
    for name in [*names, "notes.txt", "._a.png", ".hidden.png", "scores.csv"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [file.name for file in image_files_of(tmp_path)] == sorted(names)
    assert {Path(name).suffix.lower() for name in names} == SUFFIXES
    assert list(image_files_of(tmp_path / "notes.txt")) == [tmp_path / "notes.txt"]  # a single file is taken as it is


def test_the_images_of_a_dataset_are_found_and_its_masks_passed_over(tmp_path: Path) -> None:
    names = [*fake.TRAIN, *fake.TEST, *fake.CONTROL]
    found = image_files_of(fake.qata(tmp_path / "qata"))
    assert sorted(file.stem for file in found) == sorted(names)
    assert {file.parent.name for file in found} == {"Images", "Control_Group_I"}
    plain = fake.two_folders(tmp_path / "plain", ["a", "b"], affix=("", "_mask"))
    (plain / "masks" / "b_mask.png").unlink()  # an image can be predicted without
    assert [file.relative_to(plain).as_posix() for file in image_files_of(plain)] == ["images/a.png", "images/b.png"]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("train", "test"), {"train/images/1.png": "train-1.png", "test/images/1.png": "test-1.png"}),
        (("P1", "P2"), {"P1/images/1.png": "P1-images-1.png", "P2/images/1.png": "P2-images-1.png"}),
    ],
)
def test_images_of_one_name_are_called_after_their_cases(
    tmp_path: Path, folders: tuple[str, str], names: dict[str, str]
) -> None:
    for number, folder in enumerate(folders):
        fake.two_folders(tmp_path / "data" / folder, ["1", f"own{number}"])
    files = image_files_of(tmp_path / "data")
    assert (
        names.items() <= {file.relative_to(tmp_path / "data").as_posix(): name for file, name in files.items()}.items()
    )
    table = predict(small_segmenter(), files, tmp_path / "out")
    expected = {*names.values(), "own0.png", "own1.png"}
    assert {row["image"] for row in rows_of(table)} == expected
    for kind in ("masks", "uncertainty"):
        assert {file.name for file in (tmp_path / "out" / kind).iterdir()} == expected
    assert {each.named.name for each in read_prediction_folder(tmp_path / "out").about.images} == expected


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("broken.dcm", "broken.png"), "have the same name but for ending or case; rename"),
        (("X.png", "x.png"), "have the same name but for ending or case; rename"),
        (("siteA/1.png", "siteB/1.png", "siteA-1.png"), "would be called 'siteA-1'"),
    ],
)
def test_images_whose_predictions_would_have_one_name_are_refused(
    tmp_path: Path, names: tuple[str, ...], words: str
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(DataError, match=words):
        image_files_of(tmp_path)


def test_files_that_are_not_predicted_are_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.png", "a_lesion.png", "b_mask.png", "sub/z.png"):
        save(noise(8, 8), tmp_path / name)
    told: list[str] = []
    files = image_files_of(tmp_path, note=told.append)
    below = {file.relative_to(tmp_path).as_posix() for file in files}
    (sentence,) = told
    assert f"{5 - len(files)} (" in sentence
    assert all(name in sentence for name in {"a_lesion.png", "b_mask.png", "sub/z.png"} - below)


def test_bad_places_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no image or folder"):
        image_files_of(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is empty"):
        image_files_of(tmp_path)
    for name in ("film.png", "film.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"film\.jpg, .*film\.png"):
        image_files_of(tmp_path)


def test_an_image_of_the_training_size_is_predicted_pixel_by_pixel(tmp_path: Path) -> None:
    pixels = noise(32, 32)
    segmenter = small_segmenter()
    file = save(pixels, tmp_path / "in" / "film.png")
    table = predict(segmenter, [file], tmp_path / "out", measure="vacuity", aggregation="mean")
    with torch.no_grad():
        belief = segmenter.eval().belief(torch.from_numpy(pixels)[None, None].float() / 255)
    assert isinstance(belief, Beta)
    expected = (belief.log_odds > 0)[0, 0].numpy()
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(read(tmp_path / "out" / "masks" / "film.png"), 255 * expected)
    vacuity = belief.vacuity()[0, 0].numpy()
    np.testing.assert_array_equal(read(tmp_path / "out" / "uncertainty" / "film.png"), np.rint(255 * vacuity))
    (row,) = rows_of(table)
    assert float(row["uncertainty"]) == pytest.approx(vacuity.mean(), rel=1e-5)
    assert float(row["predicted_fraction"]) == pytest.approx(expected.mean(), abs=1e-6)
    assert float(row["largest_probability"]) == pytest.approx(float(belief.probability.max()), abs=1e-6)
    assert (row["image"], row["measure"], row["aggregation"]) == ("film.png", "vacuity", "mean")


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_and_deep_files_are_read(tmp_path: Path, channels: int) -> None:
    grey = noise(40, 30)
    files = [
        save(grey, tmp_path / "grey.png"),
        save(np.stack([grey] * 3, axis=-1), tmp_path / "colour.png"),
        save((grey.astype(np.uint16) * 257), tmp_path / "deep.tif"),
    ]
    predict(small_segmenter(channels=channels), files, tmp_path / "out")
    masks = [read(tmp_path / "out" / "masks" / f"{name}.png") for name in ("grey", "colour", "deep")]
    np.testing.assert_array_equal(masks[0], masks[1])  # the same picture, written in three ways
    np.testing.assert_array_equal(masks[0], masks[2])


def test_the_least_sure_image_comes_first_and_ties_keep_their_order(tmp_path: Path) -> None:
    segmenter = small_segmenter()
    levels = {"a": 0, "b": 255, "c": 120, "d": 120}
    files = [save(np.full((32, 32), level, np.uint8), tmp_path / f"{name}.png") for name, level in levels.items()]
    done: list[int] = []
    rows = rows_of(predict(segmenter, files, tmp_path / "out", report=done.append))
    scores = [float(row["uncertainty"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    names = [row["image"] for row in rows]
    assert names.index("c.png") + 1 == names.index("d.png")
    assert done == [1, 2, 3, 4]


@pytest.mark.parametrize("measure", Beta.measures)
def test_every_measure_can_be_drawn(tmp_path: Path, measure: str) -> None:
    file = save(noise(32, 32), tmp_path / "film.png")
    predict(small_segmenter(), [file], tmp_path / "out", measure=measure, aggregation="max")
    assert len(np.unique(read(tmp_path / "out" / "uncertainty" / "film.png"))) > 1


def under_centres(size: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return which of ``side`` pixels lies under the centre of each of ``size``, and whether none else is as near."""
    centres = (2 * np.arange(size) + 1) * side / (2 * size)
    return centres.astype(np.int64), np.abs(centres - np.rint(centres)) > 1e-4


def control_at(threshold: float, *, adaptive: bool = False) -> FalseNegativeControl:
    return FalseNegativeControl(threshold=threshold, at_most=0.1, patients=9, images=9, price=1.0, adaptive=adaptive)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (50, 33), (7, 90), (1, 1), (200, 300)])
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_control_thresholds_the_maps_it_was_fitted_on(
    tmp_path: Path, height: int, width: int, adaptive: bool
) -> None:
    threshold = {32: 0.0, 200: 1.0}.get(height, 0.4)  # all of an image, nothing of one
    control = control_at(threshold, adaptive=adaptive)
    segmenter = small_segmenter()
    file = save(noise(height, width), tmp_path / "film.png")
    table = predict(segmenter, [file], tmp_path / "out", control=control)
    pixels = torch.from_numpy(resize_image(noise(height, width), 32).copy())
    with torch.no_grad():
        probability = segmenter.eval().belief(pixels[None, None].float() / 255).probability[0, 0].numpy()
    compared = expected_share(probability) if adaptive else probability
    mask, uncertainty = (read(tmp_path / "out" / kind / "film.png") for kind in ("masks", "uncertainty"))
    assert mask.shape == uncertainty.shape == (height, width)
    (rows, sure_rows), (columns, sure_columns) = under_centres(height, 32), under_centres(width, 32)
    sure = np.ix_(sure_rows, sure_columns)
    np.testing.assert_array_equal(mask[sure], 255 * (compared >= threshold)[np.ix_(rows, columns)][sure])
    (row,) = rows_of(table)
    assert float(row["predicted_fraction"]) == pytest.approx((mask == 255).mean(), abs=1e-6)
    assert (row["width"], row["height"]) == (str(width), str(height))


def test_an_interval_of_areas_is_that_of_the_model_s_own_map(tmp_path: Path) -> None:
    segmenter, film = small_segmenter(), noise(50, 33)
    interval = AreaInterval(threshold=0.45, at_most=0.1, patients=9, images=9)
    (row,) = rows_of(predict(segmenter, [save(film, tmp_path / "film.png")], tmp_path / "out", area=interval))
    pixels = torch.from_numpy(resize_image(film, 32).copy())
    with torch.no_grad():
        p = segmenter.eval().belief(pixels[None, None].float() / 255).probability
    expected = [float((p > 0.55).float().mean()), float((p >= 0.45).float().mean())]
    assert [float(row["fraction_low"]), float(row["fraction_high"])] == pytest.approx(expected, abs=1e-6)
    assert expected[0] < expected[1]
    about = read_prediction_folder(tmp_path / "out").about
    assert about.area is not None
    assert about.area["threshold"] == 0.45
    with pytest.raises(DataError, match="the interval was fitted for model other"):
        predict(segmenter, [tmp_path / "film.png"], tmp_path / "out", area=replace(interval, model="other"))


@pytest.mark.parametrize(("height", "width"), [(20, 60), (64, 48)])
def test_padding_is_cut_off_again(tmp_path: Path, height: int, width: int) -> None:
    segmenter = small_segmenter().eval()
    pixels = noise(height, width)
    table = predict(segmenter, [save(pixels, tmp_path / "film.png")], tmp_path / "out", fit="pad")
    square = torch.from_numpy(resize_image(pixels, 32, "pad").copy())
    rows, columns = image_area(width, height, size=32, fit="pad").slices
    with torch.no_grad():
        belief = segmenter.belief(square[None, None].float() / 255)
    inside = belief.probability[..., rows, columns]
    expected = torch.nn.functional.interpolate(inside, (height, width), mode="bilinear", align_corners=False)[0, 0]
    mask = read(tmp_path / "out" / "masks" / "film.png")
    np.testing.assert_array_equal(mask, 255 * (expected > 0.5).numpy())
    (row,) = rows_of(table)
    score = belief.uncertainty(row["measure"])[..., rows, columns]
    found = AGGREGATIONS[row["aggregation"]](score, inside)
    assert float(row["uncertainty"]) == pytest.approx(float(found), rel=1e-4)


def test_deep_images_are_scaled_as_in_the_training(tmp_path: Path) -> None:
    pixels = noise(32, 32).astype(np.uint16) * 16
    deep, shallow = tmp_path / "deep.png", save((pixels * (255 / 65535)).round().astype(np.uint8), tmp_path / "low.png")
    Image.fromarray(pixels).save(deep)
    notes: list[str] = []
    table = predict(
        small_segmenter(), [deep, shallow], tmp_path / "out", scale=IntensityScale(65535), note=notes.append
    )
    first, second = rows_of(table)
    assert first["uncertainty"] == second["uncertainty"]
    assert any("65535" in note for note in notes)
    with pytest.raises(DataError, match=r"deep\.png"):  # the model never saw more than 8 bits
        predict(small_segmenter(), [shallow, deep], tmp_path / "other", scale=IntensityScale(None))
    assert not (tmp_path / "other").exists()


def test_predicting_leaves_the_input_alone_and_repeats_itself(tmp_path: Path) -> None:
    file = save(noise(32, 32), tmp_path / "film.png")
    before = file.read_bytes()
    for folder in ("one", "two"):
        predict(small_segmenter(), [file], tmp_path / folder)
    assert file.read_bytes() == before
    for name in ("predictions.csv", "masks/film.png", "uncertainty/film.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_folder_says_what_made_it_and_where_the_images_lie(tmp_path: Path) -> None:
    files = [save(noise(9, 8, seed=seed), tmp_path / f"{name}.png") for seed, name in enumerate("ab")]
    predict(small_segmenter(), files, tmp_path / "out", control=control_at(0.4))
    about, table = read_prediction_folder(tmp_path / "out")
    assert {image.file: image.sha256 for image in about.images} == {
        f"../{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    assert about.control is not None
    assert (about.model, about.control["threshold"], about.policy) == (hash_of_model(small_segmenter()), 0.4, None)
    assert table["width"].to_list() == [8, 8]
    predict(small_segmenter(), files[:1], tmp_path / "out")  # replaces all of it
    assert [image.image for image in read_prediction_folder(tmp_path / "out").about.images] == ["a.png"]


def test_paths_of_images_name_nothing_that_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "ann"))
    (tmp_path / "link").symlink_to(tmp_path / "study" / "deep" / "films")
    for image, folder, expected in (
        ("study/films/a.png", "study/out", "../films/a.png"),
        ("study/out/a.png", "study/out", "a.png"),
        ("link/a.png", "study/out", "../deep/films/a.png"),
        ("home/ann/films/a.png", "home/ann/out", "../films/a.png"),
        ("home/ann/films/a.png", "home/ben/out", "a.png"),  # else it would name ann
    ):
        assert path_from(tmp_path / folder, tmp_path / image) == expected
    assert path_from(Path("/srv/out"), Path("/data/hospital/a.png")) == "a.png"


@pytest.mark.parametrize("broken", ["no table", "no file", "not JSON", "other images", "column", "number", "review"])
def test_damaged_folders_are_refused_by_name(tmp_path: Path, broken: str) -> None:
    predict(small_segmenter(), [save(noise(9, 8), tmp_path / "film.png")], tmp_path)
    about, table = tmp_path / "prediction.json", tmp_path / "predictions.csv"
    text = table.read_text()
    if broken == "no file":
        about.unlink()
    elif broken == "not JSON":
        about.write_text(about.read_text()[:-9])
    elif broken == "no table":
        table.unlink()
    else:
        pairs = {
            "other images": ("film", "other"),
            "column": ("width", "breadth"),
            "number": (",8,", ",wide,"),
            "review": ("image,", "review,image,"),
        }
        changed = text.replace(*pairs[broken])
        table.write_text(changed.replace("film.png", "perhaps,film.png") if broken == "review" else changed)
    with pytest.raises(
        (DataError, MissingFileError), match=about.name if "file" in broken or "JSON" in broken else table.name
    ):
        read_prediction_folder(tmp_path)


@pytest.mark.parametrize("broken", ["measure", "weights", "image", "no image"])
def test_what_cannot_be_predicted_replaces_nothing(tmp_path: Path, broken: str) -> None:
    segmenter = small_segmenter("bernoulli")
    file = save(noise(8, 8), tmp_path / "film.png")
    predict(segmenter, [file], tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(before) == 4
    if broken == "weights":
        for weights in segmenter.parameters():
            weights.data.fill_(torch.nan)
    if broken == "image":
        file.write_text("no image")
    measure = "vacuity" if broken == "measure" else "entropy"
    with pytest.raises((BeliefError, DataError)):
        predict(segmenter, [file] if broken != "no image" else [], tmp_path / "out", measure=measure)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_unusable_images_are_named_before_anything_is_written(tmp_path: Path) -> None:
    nan = np.full((8, 8), np.nan, np.float32)
    good = save(noise(8, 8), tmp_path / "good.png")
    text = tmp_path / "text.png"
    text.write_text("no image")
    empty = tmp_path / "empty.png"
    empty.touch()
    for bad, words in ((save(nan, tmp_path / "nan.tif"), "NaN"), (text, "unknown format"), (empty, "0 bytes")):
        with pytest.raises(DataError, match=words) as caught:
            predict(small_segmenter(), [good, bad], tmp_path / "out")
        assert bad.name in str(caught.value)
        assert not (tmp_path / "out").exists()
