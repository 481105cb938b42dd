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

from trustseg.data import open_dataset, write_pack
from trustseg.data.decode import Channels
from trustseg.data.intensity import IntensityScale
from trustseg.data.phantom import phantom
from trustseg.data.resizing import resize_image, resize_mask
from trustseg.errors import ConfigError, DataError

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_pack_equals_decoding_with_pillow(tmp_path: Path, channels: Channels, mode: str) -> None:
    root = fake.qata(tmp_path / "data")
    pack = write_pack(root, tmp_path / "pack", size=8, channels=channels)
    assert (pack.images.shape, pack.masks.shape) == ((9, channels, 8, 8), (9, 1, 8, 8))
    assert pack.images.dtype == pack.masks.dtype == np.uint8
    assert not pack.images.flags.writeable
    assert any("three equal channels" in note for note in pack.notes) == (channels == 3)
    rows = pack.index.rows(named=True)
    assert [row["split"] for row in rows] == ["train"] * 5 + ["test"] * 2 + ["control"] * 2
    for number, row in enumerate(rows[:7]):
        side = root / "QaTa-COV19-v2" / ("Train Set" if row["split"] == "train" else "Test Set")
        with Image.open(side / "Images" / f"{row['name']}.png") as image:
            expected = resize_image(np.asarray(image.convert(mode)), 8).reshape(8, 8, channels)
        np.testing.assert_array_equal(pack.images[number], np.moveaxis(expected, -1, 0))
        with Image.open(side / "Ground-truths" / f"mask_{row['name']}.png") as image:
            native = (np.asarray(image) == 255).astype(np.uint8)
        mask = resize_mask(native, 8)
        np.testing.assert_array_equal(pack.masks[number, 0], mask)
        assert (row["foreground"], row["foreground_native"]) == (mask.sum(), native.sum())
        assert (row["width"], row["height"], row["has_mask"]) == (20, 16, True)
        np.testing.assert_array_equal(pack.native_masks([8, number])[1], native)
    assert (pack.masks[7:] == 0).all()  # declared to be empty
    np.testing.assert_array_equal(pack.native_masks([8])[0], np.zeros((30, 30)))
    unnamed = {"sha256_pixels": "", "content_group": ""}
    assert rows[7] | unnamed == {
        **{"name": "00000001_000", "patient": "00000001", "patient_known": True, "split": "control"},
        **{"has_mask": False, "foreground": 0, "foreground_native": 0, "width": 30, "height": 30},
        **unnamed,
    }
    assert (rows[0]["patient"], rows[0]["patient_known"]) == ("covid_7", False)


def test_a_pack_is_the_same_from_anywhere_and_tells_no_path(tmp_path: Path) -> None:
    fake.qata(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first = write_pack(tmp_path / "one", tmp_path / "p1", size=8)
    assert first.digest == write_pack(tmp_path / "two", tmp_path / "p2", size=8).digest
    about = (tmp_path / "p1" / "pack.json").read_text()
    assert str(tmp_path) not in about
    assert json.loads(about)["count"] == len(first) == 9
    assert json.loads(about)["notes"] == list(first.notes)


def test_equal_pixels_in_other_files_give_the_same_pack(tmp_path: Path) -> None:
    image, mask = fake.image("a"), fake.mask("a")
    for end in ("png", "bmp", "tif"):
        fake.save(image, tmp_path / end / "images" / f"a.{end}")
        fake.save(mask if end != "bmp" else np.stack([mask] * 3, axis=-1), tmp_path / end / "masks" / f"a.{end}")
    digests = {write_pack(tmp_path / end, tmp_path / f"{end}.pack", size=8).digest for end in ("png", "bmp", "tif")}
    assert len(digests) == 1
    fake.save(image + 1, tmp_path / "png" / "images" / "a.png")
    assert write_pack(tmp_path / "png", tmp_path / "other.pack", size=8).digest not in digests


def test_padding_and_void_labels_are_ignored(tmp_path: Path) -> None:
    mask: Array = np.zeros((16, 32), dtype=np.uint8)
    mask[4:8, 4:12], mask[:, 24:] = 1, 9
    root = fake.one_pair(tmp_path / "data", mask, image=np.full(mask.shape, 200, dtype=np.uint8))
    values = {"lesion": 1, "ignore": 9}
    pack = write_pack(root, tmp_path / "pack", size=16, fit="pad", mask_values=values)
    area = pack.area(0)
    assert area == (4, 0, 8, 16)
    inside = np.zeros((16, 16), dtype=bool)
    inside[area.slices] = True
    assert (pack.images[0, 0][inside] == 200).all()
    assert not pack.images[0, 0][~inside].any()
    assert (pack.masks[0, 0][~inside] == 255).all()
    read = np.where(mask == 9, 255, mask)
    np.testing.assert_array_equal(pack.masks[0, 0][area.slices], read[::2, ::2])
    np.testing.assert_array_equal(pack.native_masks([0])[0], read)
    assert pack.index["foreground"].item() == 8
    assert all(any(word in note for note in pack.notes) for word in ("ignored", "padded", "2.00"))
    assert open_dataset(tmp_path / "pack", fit="pad", mask_values=values).digest == pack.digest
    for options in ({"fit": "squash"}, {"fit": "pad", "mask_values": {"lesion": [1, 9]}}):
        with pytest.raises(DataError, match="pack"):
            open_dataset(tmp_path / "pack", **options)


def test_a_model_reads_deep_images_as_in_its_training(tmp_path: Path) -> None:
    image: Array = np.array([[0, 1000], [200, 500]], dtype=np.uint16)
    root = fake.one_pair(tmp_path / "data", np.zeros((2, 2), dtype=np.uint8), image=image, end="tif")
    cache = tmp_path / "cache"
    own = open_dataset(root, size=2, cache=cache)
    same = open_dataset(root, size=2, cache=cache, scale=IntensityScale(1023))
    other = open_dataset(root, size=2, cache=cache, scale=IntensityScale(4095))
    assert (own.white, same.digest, other.white) == (1023, own.digest, 4095)
    np.testing.assert_array_equal(other.images[0, 0], np.rint(image * (255 / 4095)))
    assert any("4095" in note and "training" in note for note in other.notes)
    assert open_dataset(root, size=2, cache=cache).digest == own.digest
    with pytest.raises(DataError, match=r"a\.tif"):
        open_dataset(root, size=2, cache=cache, scale=IntensityScale(None))
    pack = write_pack(root, tmp_path / "pack", size=2)
    assert any("4095" in note for note in open_dataset(tmp_path / "pack", scale=IntensityScale(4095)).notes)
    assert pack.notes == own.notes


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: fake.truncate(root / "images" / "a.png"), r"a\.png cannot be decoded"),
    (
        lambda root: fake.save(fake.mask("a", size=(10, 16)), root / "masks" / "a.png"),
        r"masks/a\.png has 10x16 pixels but its image .*images/a\.png has 20x16",
    ),
    (
        lambda root: fake.save(fake.mask("a") // 2, root / "masks" / "a.png"),
        r"masks/a\.png: values 0 \(240 px\), 127 \(80 px\)",
    ),
    (lambda root: (root / "masks" / "a.png").unlink(), r"has 1 image without a mask and 0 masks without an image"),
    (lambda root: (root / "images" / "a.png").unlink(), r"has 0 images without a mask and 1 mask .* data check"),
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


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 8, "channels": 2}, {"size": 8, "fit": "crop"}])
def test_sizes_that_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="size"):
        write_pack(tmp_path, tmp_path / "pack", **options)


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    fake.two_folders(tmp_path / "data")
    (tmp_path / "pack").mkdir()
    write_pack(tmp_path / "data", tmp_path / "pack", size=8)  # an empty folder is no loss
    (tmp_path / "file").touch()
    for target, words in (("pack", "pack already exists"), ("file/pack", "cannot be written to .*Not a directory")):
        with pytest.raises(DataError, match=words):
            write_pack(tmp_path / "data", tmp_path / target, size=9)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (OSError(12, "Cannot allocate memory"), "out of memory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_full_disk_and_a_lack_of_memory_are_told_apart_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    fake.two_folders(tmp_path / "data")

    def fail(*_: int) -> None:
        raise error

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(DataError, match=words):
        write_pack(tmp_path / "data", tmp_path / "pack", size=8)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    root = fake.two_folders(tmp_path / "data")
    write_pack(root, tmp_path / "pack", size=8, progress=lambda *call: calls.append(call))
    assert calls == [(done // 2, 5) for done in range(1, 11)]


def test_near_copies_share_a_group_a_patient_one_spelling_and_columns_become_groups(tmp_path: Path) -> None:
    names = ["sub-S1_run-1_cr", "sub-s1_run-2_cr", "sub-S2_run-1_cr"]
    root = fake.two_folders(tmp_path, names)
    film = Image.fromarray(phantom(0, 0, 0, size=96).image)
    for name, side in zip(names[1:], (96, 60), strict=True):
        film.resize((side, side)).save(root / "images" / f"{name}.png")
        fake.save(np.zeros((side, side), np.uint8), root / "masks" / f"{name}.png")
    rows = "\n".join(f"images/{name}.png,masks/{name}.png,{name[4:6]},train,f" for name in names)
    (root / "table.csv").write_text(f"image,mask,patient,split,sex\n{rows}")
    index = write_pack(root / "table.csv", tmp_path / "pack", size=8).index.sort("name")
    for column in ("content_group", "patient"):
        values = dict(index.select("name", column).iter_rows())
        twin, other = (names[2], names[0]) if column == "content_group" else (names[0], names[2])
        assert values[names[1]] == values[twin] != values[other]
    assert index["group_sex"].to_list() == ["f"] * 3


def test_files_that_are_passed_over_are_noted_without_their_names(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path / "data")
    fake.save(fake.image("x"), root / "Smith_John" / "Smith.png")
    pack = write_pack(root, tmp_path / "pack", size=8)
    assert pack.passed_over == ("Smith_John/Smith.png",)
    assert any("1 image file passed over" in note for note in pack.notes)
    assert "Smith" not in " ".join(pack.notes)
