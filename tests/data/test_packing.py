"""Images and masks are decoded once, exactly as Pillow does it, and written whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import fake

from trustseg.data import open_dataset, packing, write_pack
from trustseg.data.phantom import phantom
from trustseg.data.resizing import resize_image, resize_mask
from trustseg.errors import ConfigError, DataError, MissingFileError


def pixels(path: Path, size: int, *, mode: str = "L") -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What Pillow decodes, resized as tests/data/test_resizing.py checks it."""
    with Image.open(path) as image:
        return resize_image(np.asarray(image.convert(mode)), size)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pack_equals_decoding_with_pillow(tmp_path: Path, channels: Any, mode: str) -> None:  # noqa: ANN401
    root = fake.qata(tmp_path / "data")
    pack = write_pack(root, tmp_path / "pack", size=8, channels=channels)
    base = root / "QaTa-COV19-v2"
    assert pack.images.shape == (9, channels, 8, 8)
    assert pack.masks.shape == (9, 1, 8, 8)
    assert pack.images.dtype == pack.masks.dtype == np.uint8
    assert not pack.images.flags.writeable
    rows = pack.index.rows(named=True)
    assert [row["split"] for row in rows] == ["train"] * 5 + ["test"] * 2 + ["control"] * 2
    for number, row in enumerate(rows[:7]):
        side = base / ("Train Set" if row["split"] == "train" else "Test Set")
        expected = pixels(side / "Images" / f"{row['name']}.png", 8, mode=mode).reshape(8, 8, channels)
        np.testing.assert_array_equal(pack.images[number], np.moveaxis(expected, -1, 0))
        with Image.open(side / "Ground-truths" / f"mask_{row['name']}.png") as image:
            mask = resize_mask((np.asarray(image) == 255).astype(np.uint8), 8)
        np.testing.assert_array_equal(pack.masks[number, 0], mask)
        assert row["foreground"] == mask.sum()
        assert (row["width"], row["height"], row["has_mask"]) == (20, 16, True)
    assert not pack.masks[7:].any()
    unnamed = {"sha256_image": "", "sha256_pixels": "", "content_group": ""}
    assert rows[7] | unnamed == {
        "name": "00000001_000",
        "patient": "00000001",
        "patient_known": True,
        "split": "control",
        "has_mask": False,
        "foreground": 0,
        "width": 30,
        "height": 30,
        "sha256_mask": None,
        **unnamed,
    }
    assert rows[0]["patient"] == "covid_7"
    assert not rows[0]["patient_known"]


def test_pack_is_the_same_from_anywhere_and_tells_no_path(tmp_path: Path) -> None:
    fake.qata(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first = write_pack(tmp_path / "one", tmp_path / "p1", size=8)
    second = write_pack(tmp_path / "two", tmp_path / "p2", size=8)
    assert first.digest == second.digest
    assert first.digest != write_pack(tmp_path / "two", tmp_path / "p3", size=9).digest
    assert str(tmp_path) not in (tmp_path / "p1" / "pack.json").read_text()
    assert json.loads((tmp_path / "p1" / "pack.json").read_text())["count"] == len(first) == 9


def one_pair(
    root: Path, mask: np.ndarray[Any, Any], *, image: np.ndarray[Any, Any] | None = None, end: str = "png"
) -> Path:
    fake.save(image if image is not None else np.full(mask.shape[:2], 7, dtype=np.uint8), root / "images" / f"a.{end}")
    fake.save(mask, root / "masks" / "a.png")
    return root


def test_a_tiny_infection_that_vanishes_is_told(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[0, 0] = 255
    pack = write_pack(one_pair(tmp_path / "data", mask), tmp_path / "pack", size=8)
    assert pack.notes == ("1 images lost a tiny infection when its mask shrank",)
    assert pack.index["foreground"].to_list() == [0]


@pytest.mark.parametrize(
    ("white", "kind"), [(1023, np.uint16), (4095, np.uint16), (65535, np.uint16), (65535, np.int32)]
)
def test_deep_images_are_scaled_by_their_full_range(tmp_path: Path, white: int, kind: type) -> None:
    image: np.ndarray[Any, Any] = np.array([[0, white], [white // 5, white // 2]], dtype=kind)
    root = one_pair(tmp_path / "data", np.zeros((2, 2), dtype=np.uint8), image=image, end="tif")
    pack = write_pack(root, tmp_path / "pack", size=2)
    np.testing.assert_allclose(pack.images[0, 0], image.astype(float) * 255 / white, atol=0.5)
    assert len(pack.notes) == 1
    assert str(white) in pack.notes[0]


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda root: fake.truncate(root / "images" / "a.png"),
        r"a\.png cannot be decoded \(.+\), expected a PNG.* replace or remove it",
    ),
    (lambda root: (root / "images" / "a.png").write_bytes(b""), r"a\.png cannot be decoded \(0 bytes\)"),
    (lambda root: (root / "images" / "a.png").write_text("hello"), r"a\.png cannot be decoded \(unknown format\)"),
    (lambda root: fake.truncate(root / "masks" / "a.png"), r"masks/a\.png cannot be decoded"),
    (
        lambda root: fake.save(fake.mask("a", size=(10, 16)), root / "masks" / "a.png"),
        r"masks/a\.png has 10x16 pixels but its image .*images/a\.png has 20x16, expected the same size; export",
    ),
    (
        lambda root: fake.save(fake.mask("a") // 2, root / "masks" / "a.png"),
        r"masks/a\.png: values 0 \(240 px\), 127 \(80 px\)",
    ),
    (lambda root: (root / "masks" / "a.png").unlink(), r"has 1 images without a mask and 0 masks without an image"),
    (lambda root: (root / "images" / "a.png").unlink(), r"has 0 images without a mask and 1 masks .* data check"),
]


@pytest.mark.parametrize(("damage", "sentence"), BROKEN)
def test_a_bad_file_gets_its_sentence_and_leaves_nothing_behind(
    tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    root = fake.two_folders(tmp_path / "data", ["a", "b"])
    damage(root)
    with pytest.raises(DataError, match=sentence):
        write_pack(root, tmp_path / "pack", size=8)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 8, "channels": 2}])
def test_sizes_that_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected size >= 1 and 1 or 3 channels"):
        write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", **options)


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    fake.two_folders(tmp_path / "data")
    (tmp_path / "pack").mkdir()
    write_pack(tmp_path / "data", tmp_path / "pack", size=8)  # an empty folder is no loss
    with pytest.raises(DataError, match="pack exists already, expected a new folder; delete it or name another"):
        write_pack(tmp_path / "data", tmp_path / "pack", size=9)


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    fake.two_folders(tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"cannot be written to .* \(Not a directory\), expected a writable folder with"
    ):
        write_pack(tmp_path / "data", tmp_path / "file" / "pack", size=8)


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.two_folders(tmp_path / "data")

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        DataError, match=r"\(No space left on device\), expected a writable folder with 0 MB free; make"
    ):
        write_pack(tmp_path / "data", tmp_path / "pack", size=8)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_pack(
        fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8, progress=lambda *call: calls.append(call)
    )
    assert calls == [(number, 5) for number in range(1, 6)]


def test_open_dataset_packs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake.qata(tmp_path / "data")
    monkeypatch.setenv("TRUSTSEG_CACHE", str(tmp_path / "cache"))
    first = open_dataset(root, size=8)
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_build", lambda *_, **__: pytest.fail("packed again"))
        again = open_dataset(root, size=8)
    assert first.digest == again.digest
    assert len(list((tmp_path / "cache" / "packs").iterdir())) == 1
    fake.save(fake.image("other"), root / "QaTa-COV19-v2" / "Train Set" / "Images" / "covid_7.png")
    assert open_dataset(root, size=8).digest != first.digest
    assert open_dataset(root, cache=tmp_path / "elsewhere").size == 224
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_the_loser_of_a_race_takes_the_winners_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake.two_folders(tmp_path / "data")
    write = packing._write_arrays

    def slow(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        rows = write(*args, **options)
        monkeypatch.setattr(packing, "_write_arrays", write)
        open_dataset(root, size=8, cache=tmp_path / "cache")  # another process finishes first
        return rows

    monkeypatch.setattr(packing, "_write_arrays", slow)
    pack = open_dataset(root, size=8, cache=tmp_path / "cache")
    assert len(pack) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_open_dataset_takes_a_pack_as_it_is(tmp_path: Path) -> None:
    write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    assert open_dataset(tmp_path / "pack").size == 8
    assert open_dataset(tmp_path / "pack", size=8).size == 8
    with pytest.raises(
        DataError, match=r"holds 8-pixel images .* expected 16 pixels and 1; .* TARGET --size 16 --chan"
    ):
        open_dataset(tmp_path / "pack", size=16)
    with pytest.raises(DataError, match=r"with 1 channels, expected 8 pixels and 3; .* --channels 3"):
        open_dataset(tmp_path / "pack", channels=3)
    with pytest.raises(MissingFileError, match="does not exist"):
        open_dataset(tmp_path / "nowhere")


def test_near_copies_share_a_group_and_a_patient_one_spelling(tmp_path: Path) -> None:
    names = ["sub-S1_run-1_cr", "sub-s1_run-2_cr", "sub-S2_run-1_cr"]
    root = fake.two_folders(tmp_path / "data", names)
    film = Image.fromarray(phantom(0, 0, 0, size=96).image)
    for name, side in zip(names[1:], (96, 60), strict=True):
        film.resize((side, side)).save(root / "images" / f"{name}.png")
        fake.save(np.zeros((side, side), np.uint8), root / "masks" / f"{name}.png")
    index = write_pack(root, tmp_path / "pack", size=8).index.sort("name")
    groups = dict(index.select("name", "content_group").iter_rows())
    assert groups[names[1]] == groups[names[2]] != groups[names[0]]
    patients = dict(index.select("name", "patient").iter_rows())
    assert patients[names[0]] == patients[names[1]] != patients[names[2]]
