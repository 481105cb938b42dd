"""The manifest is read rightly or refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.listings import touch

from trustseg.data import Case, Declared, find_cases, usable_cases, write_manifest
from trustseg.errors import DataError, MissingFileError, TrustsegError

HEADER = "image,mask,patient,split"
A = "a.png,a_mask.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return touch(tmp_path, "a.png", "b.png", "c d.png", "a_mask.png", "b;1.png", "b_2.png", "sub/e.png")


def table(root: Path, text: str | bytes, name: str = "manifest.csv") -> Path:
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root / name


def test_columns_and_cells(root: Path) -> None:
    text = (
        "Split, IMAGE ,patient,mask,sex,site\n"
        "train,a.png,P1,a_mask.png,f,\n"
        "\n"
        " Test , b.png ,p1 , b_2.png;a_mask.png ,m,x\n"  # p1 is the same patient as P1
        'control,"c d.png",,b;1.png,,\n'
        "unlabelled,sub/e.png,,,,\n"
    )
    listing = usable_cases(table(root, text))
    assert listing.layout == "manifest"
    assert listing.cases == (
        Case("a", root / "a.png", (root / "a_mask.png",), "P1", "train", {"sex": "f", "site": ""}),
        Case("b", root / "b.png", (root / "b_2.png", root / "a_mask.png"), "P1", "test", {"sex": "m", "site": "x"}),
        Case("c d", root / "c d.png", (root / "b;1.png",), None, "control", {"sex": "", "site": ""}),
        Case("e", root / "sub" / "e.png", (), None, "unlabelled", {"sex": "", "site": ""}),
    )


WRITTEN: dict[str, Callable[[str], bytes]] = {
    "bom": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "sep": lambda text: b"sep=;\r\n" + text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "bars": lambda text: text.replace(",", "|").encode(),
    "empty columns": lambda text: text.replace("\n", ",,\n").encode(),
    "no last newline": lambda text: text.rstrip("\n").encode(),
}


@pytest.mark.parametrize("name", ["cases.csv", "Manifest.CSV", "manifest.tsv"])
@pytest.mark.parametrize("written", WRITTEN)
def test_what_spreadsheets_write(root: Path, written: str, name: str) -> None:
    file = table(root, WRITTEN[written](f"{HEADER}\n{A},Ü,train\nb.png,,,test\n"), name)
    listing = find_cases(file if name == "cases.csv" else root)
    assert [(case.name, case.patient, len(case.masks)) for case in listing.cases] == [("a", "Ü", 1), ("b", None, 0)]


def test_paths_are_relative_to_the_table_or_absolute(root: Path) -> None:
    (root / "tables").mkdir()
    text = f"{HEADER}\n../a.png,{root / 'a_mask.png'},,train\n..\\sub\\e.png,,,test\n"
    listing = find_cases(table(root, text, "tables/cases.csv"))
    assert [case.image.resolve() for case in listing.cases] == [root / "a.png", root / "sub" / "e.png"]
    assert listing.cases[0].masks == (root / "a_mask.png",)


BAD: dict[str, tuple[str | bytes, str]] = {
    "a column is missing": ("image,mask,split\na.png,,train\n", "patient"),
    "two are": ("image,patient\na.png,\n", "mask, split"),
    "columns of other names": (f"images,masks,id,split\n{A},1,train\n", "lacks .*found: images, masks, id, split"),
    "a table of another kind": ("name,finding\na,none\n", "image, mask, patient, split"),
    "a column comes twice": (f"{HEADER},sex,Sex\na.png,,,train,,\n", "sex"),
    "a column has no name": (f"{HEADER},\na.png,,,train,x\n", "without a name"),
    "unknown split": (f"{HEADER}\na.png,,,train\nb.png,,,holdout\n", "line 3.*holdout"),
    "no split": (f"{HEADER}\na.png,,,\n", "line 2"),
    "no image": (f"{HEADER}\n,a_mask.png,,train\n", "line 2"),
    "same image twice": (f"{HEADER}\na.png,,,train\n./sub/../a.png,,,test\n", "lines 2 and 3"),
    "image as mask": (f"{HEADER}\na.png,a.png,,train\n", "line 2"),
    "mask twice": (f"{HEADER}\na.png,b_2.png;b_2.png,,train\n", "line 2"),
    "mask of two": (f"{HEADER}\n{A},1,train\nb.png,a_mask.png,2,train\n", r"lines 2 and 3 .*a_mask\.png"),
    "mask of unknown": (f"{HEADER}\n{A},,train\nb.png,a_mask.png,,train\n", r"lines 2 and 3 .*a_mask\.png"),
    "unlabelled with a mask": (f"{HEADER}\n{A},,unlabelled\n", "line 2"),
    "too many cells": (f"{HEADER}\na.png,,,train,x\n", "line 2"),
    "too few cells": (f"{HEADER}\na.png,train\n", "line 2"),
    "open quotes": (f'{HEADER}\n"a.png,,,train\n', "line"),
    "no lines": (f"{HEADER}\n", "no line"),
    "a comment": (f"# mine\n{HEADER}\n", r"begins with a comment \(# mine\)"),
    "Latin-1": (f"{HEADER}\na.png,,Ü,train\n".encode("latin-1"), "UTF-8"),
    "UTF-16 without its mark": (HEADER.encode("utf-16-le"), "UTF-16"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_understood_is_named(root: Path, case: str) -> None:
    text, named = BAD[case]
    with pytest.raises(DataError, match=rf"(?s)manifest\.csv.*{named}"):
        find_cases(table(root, text))


def test_files_that_are_not_there_are_named(root: Path) -> None:
    text = f"{HEADER}\nA.PNG,a_mask.png,,train\nb.png,a_mask.png | b_2.png,,test\n"
    with pytest.raises(MissingFileError, match=r"(?s)2 missing files.*line 2: image .*A\.PNG.*line 3: mask"):
        find_cases(table(root, text))
    with pytest.raises(MissingFileError, match=r"nowhere\.csv"):
        find_cases(root / "nowhere.csv")


def test_which_tables_of_a_folder_are_manifests(root: Path) -> None:
    table(root, f"name,finding\na,{'none ' * 100}\n")
    assert find_cases(root).layout == "folder"
    table(root, f"filename,gt,p,s\n{A},1,train\n")  # meant for these files
    with pytest.raises(DataError, match="lacks the column"):
        find_cases(root)
    table(root, f"{HEADER}\n{A},,test\n", "manifest.tsv")
    with pytest.raises(DataError, match=r"manifest\.csv and manifest\.tsv; keep one"):
        find_cases(root)


def test_what_is_noted_beside_the_cases(root: Path) -> None:
    table(root, f"{HEADER}\n{A},7,train\nb.png,,nan,test\nsub/e.png,a_mask.png,7,val\n")
    listing = find_cases(root)  # two views of one lesion
    assert [case.patient for case in listing.cases] == ["7", None, "7"]
    assert {file.name for file in listing.passed_over} == {"c d.png", "b;1.png", "b_2.png"}
    for words in ("validation", "written as nan are unknown", "1 images of train or test have no reference"):
        assert any(words in note for note in listing.notes)
    with pytest.raises(DataError, match=r"data\.masks"):  # the table tells them
        find_cases(root, Declared(masks="masks"))


def test_what_layouts_find_is_read_again_from_the_table(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{side}/{kind}.png" for side in ("train/images", "train/masks") for kind in ("sub-1_x", "b")))
    found = usable_cases(touch(tmp_path, "test/images/=b.png", "test/masks/=b.png"))
    (tmp_path / "tables").mkdir()
    target = tmp_path / "tables" / "manifest.csv"
    write_manifest(found, target)
    read, before = (
        [(c.name, c.patient, c.split, c.image.resolve(), [m.resolve() for m in c.masks]) for c in listing.cases]
        for listing in (usable_cases(target), found)
    )
    assert sorted(read) == sorted(before)
    with pytest.raises(DataError, match=r"manifest\.csv already exists"):
        write_manifest(found, target)


def test_open_questions_stay_open_in_the_table(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "1st_manual/a.png", "mask/a.png")
    write_manifest(find_cases(tmp_path), tmp_path / "manifest.csv")
    assert "1st_manual/a.png | mask/a.png" in (tmp_path / "manifest.csv").read_text()
    with pytest.raises(TrustsegError, match=r"\|, keep one, or put ;"):
        find_cases(tmp_path)
