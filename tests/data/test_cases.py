"""What the names of files tell, and how masks find their images."""

from pathlib import Path

import pytest
from tests import fake

from trustseg.data import Case, Listing, patient_of
from trustseg.data.cases import image_files, is_lateral, joined, known_name, mask_affix, pair, subfolder
from trustseg.errors import DataError


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("covid_12", None),
        ("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx", "S09611"),
        ("sub-G0003_ses-01_bp-chest_vp-ap", "G0003"),
        ("sub-S1", "S1"),
        ("sub-S1_something else", "S1"),
        ("00001281_000", "00001281"),
        ("1281_000", None),
        ("sub-", None),
        ("x_sub-S1_ses-1", None),
    ],
)
def test_patient_of(name: str, patient: str | None) -> None:
    assert patient_of(name) == patient


@pytest.mark.parametrize(
    ("images", "masks", "affix"),
    [
        ({"a", "mask_a"}, ["mask_a", "mask_mask_a"], ("mask_", "")),
        ({"1", "11"}, ["1_seg", "11_seg"], ("", "_seg")),
        ({"1", "2"}, ["11", "12"], ("", "")),  # digits are never an affix: image 1 and mask 11 are two cases
        ({"1", "x_1"}, ["mask_1", "mask_x_1"], ("mask_", "")),
        ({"a"}, [], ("", "")),
        (set(), ["a"], ("", "")),
    ],
)
def test_mask_affix(images: set[str], masks: list[str], affix: tuple[str, str]) -> None:
    assert mask_affix(images, masks) == affix


@pytest.mark.parametrize(
    ("name", "known", "lateral"),
    [
        ("covid_12", True, False),
        ("covid_", False, False),
        ("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx", True, True),
        ("sub-S1_vp-pa_cr", True, False),
        ("sub-S1_vp-ll", True, True),
        ("sub-S1_something_vp-ll", False, False),
        ("00001281_000", True, False),
        ("00001281_0000", False, False),
        ("vp-ll", False, False),
    ],
)
def test_names_that_are_known_tell_their_view(name: str, known: bool, lateral: bool) -> None:
    assert known_name(name) == known
    assert is_lateral(name) == lateral


def test_image_files_by_stem(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.tif", ".hidden.png", "notes.txt", "png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = image_files(tmp_path)
    assert list(found.items()) == [("a", tmp_path / "a.jpeg"), ("b", tmp_path / "b.PNG"), ("c", tmp_path / "c.tif")]
    (tmp_path / "a.bmp").touch()
    with pytest.raises(DataError, match=r"a\.bmp and a\.jpeg stand for the same case 'a', expected one file a case"):
        image_files(tmp_path)


def test_the_first_of_the_named_folders_is_taken_whatever_its_case(tmp_path: Path) -> None:
    for name in ("Masks", "LABELS"):
        (tmp_path / name).mkdir()
    (tmp_path / "gt").touch()
    assert subfolder(tmp_path, ("gt", "labels", "masks")) == tmp_path / "LABELS"  # gt is a file
    assert subfolder(tmp_path, ("Masks",)) == tmp_path / "Masks"
    assert subfolder(tmp_path, ("images",)) is None
    assert subfolder(tmp_path / "nowhere", ("masks",)) is None


def test_pairs_and_what_finds_no_partner(tmp_path: Path) -> None:
    names = ("sub-S1_run-1", "covid_1", "covid_2")
    fake.pairs(tmp_path, names, images="images", masks="gt", affix=("", "_seg"))
    (tmp_path / "gt" / "covid_2_seg.png").rename(tmp_path / "gt" / "covid_3_seg.png")
    found = pair(tmp_path, "test", images=("images",), masks=("masks", "gt"))
    assert [(case.name, case.patient, case.split) for case in found.cases] == [
        ("covid_1", None, "test"),
        ("sub-S1_run-1", "S1", "test"),
    ]
    assert [case.masks[0].name for case in found.cases] == ["covid_1_seg.png", "sub-S1_run-1_seg.png"]
    assert [path.name for path in found.lone_images] == ["covid_2.png"]
    assert [path.name for path in found.lone_masks] == ["covid_3_seg.png"]
    assert not pair(tmp_path, "test", images=("films",), masks=("gt",))


def test_joined_listings_keep_their_order() -> None:
    one, two = (Case(name, Path(name), (), None, "control") for name in ("one", "two"))
    first = Listing(cases=(two,), lone_images=(Path("i"),), notes=("a",), layout="folder")
    second = Listing(cases=(one,), lone_masks=(Path("m"),), notes=("b",))
    found = joined(iter([first, Listing(), second]))
    assert found == Listing((two, one), (Path("i"),), (Path("m"),), ("a", "b"))
    assert not joined([])
    assert not Listing(notes=("only said",), layout="qata")
    assert Listing(lone_masks=(Path("m"),))
