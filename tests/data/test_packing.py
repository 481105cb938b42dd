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

from trustseg.data import Case, check_dataset, open_dataset, write_pack
from trustseg.data.intensity import IntensityScale, scan_image
from trustseg.data.pack_cases import CaseScan, PackedCase, index_of
from trustseg.data.phantom import phantom
from trustseg.data.picture import Picture
from trustseg.data.resizing import resize_image, resize_mask
from trustseg.errors import ConfigError, DataError


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
    assert (pack.masks[7:] == 0).all()  # declared to be empty
    unnamed = {"sha256_pixels": "", "content_group": ""}
    assert rows[7] | unnamed == {
        "name": "00000001_000",
        "patient": "00000001",
        "patient_known": True,
        "split": "control",
        "has_mask": False,
        "foreground": 0,
        "foreground_native": 0,
        "width": 30,
        "height": 30,
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


def test_equal_pixels_in_other_files_give_the_same_pack(tmp_path: Path) -> None:
    image, mask = fake.image("a"), fake.mask("a")
    for end in ("png", "bmp", "tif"):
        fake.save(image, tmp_path / end / "images" / f"a.{end}")
        fake.save(mask if end != "bmp" else np.stack([mask] * 3, axis=-1), tmp_path / end / "masks" / f"a.{end}")
    digests = {write_pack(tmp_path / end, tmp_path / f"{end}.pack", size=8).digest for end in ("png", "bmp", "tif")}
    assert len(digests) == 1
    fake.save(image + 1, tmp_path / "png" / "images" / "a.png")
    assert write_pack(tmp_path / "png", tmp_path / "other.pack", size=8).digest not in digests


def test_a_tiny_lesion_that_vanishes_is_told(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[0, 0] = 255
    pack = write_pack(fake.one_pair(tmp_path / "data", mask), tmp_path / "pack", size=8)
    assert [note for note in pack.notes if "1 of 1 image vanish" in note]
    assert (pack.lost, pack.index["foreground"].item(), pack.index["foreground_native"].item()) == (["a"], 0, 1)
    assert write_pack(tmp_path / "data", tmp_path / "large", size=64).lost == []


def test_notes_count_files_that_are_passed_over_and_name_them_apart(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path / "data", ["a", "b"])
    fake.save(fake.image("x"), root / "Smith_John" / "Smith.png")
    pack = write_pack(root, tmp_path / "pack", size=8)
    assert pack.passed_over == ("Smith_John/Smith.png",)
    assert any("1 image file belongs to no case" in note for note in pack.notes)
    assert "Smith" not in " ".join(pack.notes)


def test_masks_are_kept_at_the_size_of_their_files(tmp_path: Path) -> None:
    root = fake.qata(tmp_path / "data")
    pack = write_pack(root, tmp_path / "pack", size=8)
    found = pack.native_masks([6, 8, 0, 6])
    assert found[1] is not None
    np.testing.assert_array_equal(found[1], np.zeros((30, 30)))  # of a control
    for row, mask in ((6, found[0]), (0, found[2]), (6, found[3])):
        assert mask is not None
        np.testing.assert_array_equal(mask, fake.mask(pack.index[row, "name"]) // 255)


def test_padding_and_void_labels_are_ignored(tmp_path: Path) -> None:
    mask: np.ndarray[Any, Any] = np.zeros((16, 32), dtype=np.uint8)
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
    np.testing.assert_array_equal(pack.masks[0, 0][area.slices], np.where(mask == 9, 255, mask)[::2, ::2])
    np.testing.assert_array_equal(pack.native_masks([0])[0], np.where(mask == 9, 255, mask))
    assert pack.index["foreground"].item() == 8
    assert any("ignored" in note for note in pack.notes)
    assert any("padded" in note for note in pack.notes)
    assert open_dataset(tmp_path / "pack", fit="pad", mask_values=values).digest == pack.digest
    for options in ({"fit": "squash"}, {"fit": "pad", "mask_values": {"lesion": [1, 9]}}):
        with pytest.raises(DataError, match="pack"):
            open_dataset(tmp_path / "pack", **options)


def test_a_model_reads_deep_images_as_in_its_training(tmp_path: Path) -> None:
    image: np.ndarray[Any, Any] = np.array([[0, 1000], [200, 500]], dtype=np.uint16)
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


@pytest.mark.parametrize(
    ("white", "kind"), [(1023, np.uint16), (4095, np.uint16), (65535, np.uint16), (65535, np.int32)]
)
def test_deep_images_are_scaled_by_their_full_range(tmp_path: Path, white: int, kind: type) -> None:
    image: np.ndarray[Any, Any] = np.array([[0, white], [white // 5, white // 2]], dtype=kind)
    root = fake.one_pair(tmp_path / "data", np.zeros((2, 2), dtype=np.uint8), image=image, end="tif")
    pack = write_pack(root, tmp_path / "pack", size=2)
    np.testing.assert_allclose(pack.images[0, 0], image.astype(float) * 255 / white, atol=0.5)
    assert any(str(white) in note for note in pack.notes)
    assert pack.white == white


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda root: fake.truncate(root / "images" / "a.png"),
        r"a\.png cannot be decoded",
    ),
    (lambda root: (root / "images" / "a.png").write_bytes(b""), r"a\.png cannot be decoded \(0 bytes\)"),
    (lambda root: (root / "images" / "a.png").write_text("hello"), r"a\.png cannot be decoded \(unknown format\)"),
    (lambda root: fake.truncate(root / "masks" / "a.png"), r"masks/a\.png cannot be decoded"),
    (
        lambda root: fake.save(fake.mask("a", size=(10, 16)), root / "masks" / "a.png"),
        r"masks/a\.png has 10x16 pixels but its image .*images/a\.png has 20x16",
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


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 8, "channels": 2}, {"size": 8, "fit": "crop"}])
def test_sizes_that_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="size"):
        write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", **options)


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    fake.two_folders(tmp_path / "data")
    (tmp_path / "pack").mkdir()
    write_pack(tmp_path / "data", tmp_path / "pack", size=8)  # an empty folder is no loss
    with pytest.raises(DataError, match="pack already exists"):
        write_pack(tmp_path / "data", tmp_path / "pack", size=9)


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    fake.two_folders(tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written to .*Not a directory"):
        write_pack(tmp_path / "data", tmp_path / "file" / "pack", size=8)


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
    write_pack(
        fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8, progress=lambda *call: calls.append(call)
    )
    assert calls == [(done // 2, 5) for done in range(1, 11)]


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


def test_columns_of_a_manifest_become_groups() -> None:
    cases = [
        Case("a", Path("a.png"), (), None, "train", columns={"sex": "f"}),
        Case("b", Path("b.png"), (), "P1", "test", columns={"site": "north"}),
    ]
    scan = CaseScan(
        scan_image(Picture(np.zeros((4, 4), np.uint8), "", "PNG"), Path("a.png")),
        4,
        4,
        (),
        ("0",),
        "0",
        np.zeros((2, 32, 32), np.float32),
    )
    index = index_of(cases, [scan, scan], [PackedCase(None, None, None)] * 2)
    assert index["group_sex"].to_list() == ["f", None]
    assert index["group_site"].to_list() == [None, "north"]


def test_what_is_noted_of_sizes_and_colours(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    root = fake.one_pair(tmp_path / "data", np.zeros((10, 20), dtype=np.uint8), image=wide)
    notes = write_pack(root, tmp_path / "pack", size=8).notes
    assert any("2.00" in note and "squashed" in note for note in notes)
    assert any("grey" in note for note in notes)
    kept = write_pack(root, tmp_path / "colour", size=8, channels=3).notes
    assert not any("grey" in note for note in kept)
    assert json.loads((tmp_path / "pack" / "pack.json").read_text())["notes"] == list(notes)


def test_a_pack_says_what_a_check_warns_of_without_names(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for side, name, value in (("train", "p1_a", 255), ("train", "p2_a", 255), ("test", "p1_b", 0), ("test", "p3_a", 0)):
        picture = fake.image("p1_a" if name == "p3_a" else name)
        fake.save(picture, root / side / "images" / f"{name}.png")
        fake.save(np.full(picture.shape[:2], value, dtype=np.uint8), root / side / "masks" / f"{name}.png")
    found = "\n".join(write_pack(root, tmp_path / "pack", size=8).notes)
    assert "in both train and test, by their content: 1;" in found
    assert "all masks of test are empty" in found
    assert "covers more than 75% of the image: 2" in found
    assert "p1_" not in found
    warned = {finding.kind: len(finding.names) for finding in check_dataset(root).findings}
    assert (warned["large_lesion"], warned["content_leak"], warned["all_masks_empty"]) == (2, 1, 0)
    assert "images of unknown patients: 4;" in found
