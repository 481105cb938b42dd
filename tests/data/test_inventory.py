"""Every image file below a folder is found; what is no image is passed over without noise."""

import os
from pathlib import Path

import pytest
from tests import fake
from tests.data.listings import touch

from trustseg.data.inventory import image_files, is_placeholder
from trustseg.data.layouts import find_cases
from trustseg.errors import DataError


def names(root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in image_files(root)]


def test_images_of_any_kind_at_any_depth(tmp_path: Path) -> None:
    images = ["a.PNG", "b/c/d.jpeg", "b/e.gif", "f.dcm", "g.nii.gz", "h.npy", "i.webp", "j.jp2", "k.dicom"]
    touch(tmp_path, *images, "notes.txt", "b/table.csv", "b/c/archive.tar.gz", "model.safetensors")
    (tmp_path / "folder.png").mkdir()
    assert names(tmp_path) == images


def test_files_without_a_known_suffix_are_judged_by_their_first_bytes(tmp_path: Path) -> None:
    fake.save(fake.image("a"), tmp_path / "a.png").rename(tmp_path / "a")
    fake.save(fake.image("b"), tmp_path / "b.jpg").rename(tmp_path / "b.old")
    (tmp_path / "c").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "README").write_text("no image")
    assert names(tmp_path) == ["a", "b.old", "c"]


def test_what_programs_leave_behind_is_counted_apart(tmp_path: Path) -> None:
    hidden = [".ipynb_checkpoints/x.png", ".x.png", "@eaDir/x.jpg", "__MACOSX/x.png", "images/._x.png"]
    touch(tmp_path, *hidden, ".git/annex/x.png", "Thumbs.db", ".DS_Store", "images/x.png")
    assert names(tmp_path) == ["images/x.png"]
    assert [file.relative_to(tmp_path).as_posix() for file in image_files(tmp_path, hidden=True)] == hidden
    for table in (None, "image,mask,patient,split\nimages/x.png,,,unlabelled\n"):
        if table:
            (tmp_path / "manifest.csv").write_text(table)
        listing = find_cases(tmp_path)
        assert sorted(listing.below(listing.passed_over)) == hidden


def test_links_count_even_where_their_content_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "x.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "pointer.png").write_text("../.git/annex/objects/ab/cd/MD5E-s123.png")
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    lost = ["lfs.png", "lost.png", "pointer.png"]
    assert names(tmp_path) == [*lost, "x.png"]
    assert [file.name for file in image_files(tmp_path) if is_placeholder(file)] == lost


def test_linked_folders_are_read_and_loops_refused(tmp_path: Path) -> None:
    touch(tmp_path, "data/images/x.png", "elsewhere/y.png")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "data") == ["images/x.png", "more/y.png"]
    (tmp_path / "data" / "images" / "again").symlink_to(tmp_path / "data")
    with pytest.raises(DataError, match="again"):
        image_files(tmp_path / "data")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "locked/x.png")
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="locked"):
        image_files(tmp_path)
