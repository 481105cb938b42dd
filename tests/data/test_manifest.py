"""The manifest is read rightly or refused by name."""

from pathlib import Path

import pytest

from trustseg.data import Case, Declared, find_cases, usable_cases, write_manifest
from trustseg.errors import DataError, MissingFileError, TrustsegError

HEADER = "image,mask,patient,split"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c d.png", "a_mask.png", "b;1.png", "b_2.png", "sub/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def table(root: Path, text: str | bytes, name: str = "manifest.csv") -> Path:
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root / name


def test_columns_and_cells(root: Path) -> None:
    text = (
        "Split, IMAGE ,patient,mask,sex,site\n"
        "train,a.png,P1,a_mask.png,f,\n"
        "\n"
        " Test , b.png ,p1 , b;1.png ; b_2.png,m,x\n"
        'control,"c d.png",,,,\n'
        "unlabelled,sub/e.png,,,,\n"
    )
    # The third column of line 4 is p1: the same patient as P1.
    listing = usable_cases(table(root, text.replace("b;1.png ; b_2.png", "b_2.png;a_mask.png")))
    assert listing.layout == "manifest"
    assert listing.cases == (
        Case("a", root / "a.png", (root / "a_mask.png",), "P1", "train", {"sex": "f", "site": ""}),
        Case("b", root / "b.png", (root / "b_2.png", root / "a_mask.png"), "P1", "test", {"sex": "m", "site": "x"}),
        Case("c d", root / "c d.png", (), None, "control", {"sex": "", "site": ""}),
        Case("e", root / "sub" / "e.png", (), None, "unlabelled", {"sex": "", "site": ""}),
    )


def test_a_name_with_a_semicolon_is_one_file(root: Path) -> None:
    (case,) = usable_cases(table(root, f"{HEADER}\na.png,b;1.png,,train\n")).cases
    assert case.masks == (root / "b;1.png",)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: b"sep=;\r\n" + text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace("\n", ",,\n").encode(),  # empty columns at the end
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["bom", "utf-16", "crlf", "semicolons", "sep", "tabs", "empty columns", "no last newline"],
)
def test_what_spreadsheets_write(root: Path, encode: "object") -> None:
    assert callable(encode)
    listing = find_cases(table(root, encode(f"{HEADER}\na.png,a_mask.png,Ü,train\nb.png,,,test\n")))
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
    "a column comes twice": (f"{HEADER},sex,Sex\na.png,,,train,,\n", "sex"),
    "a column has no name": (f"{HEADER},\na.png,,,train,x\n", "without a name"),
    "unknown split": (f"{HEADER}\na.png,,,train\nb.png,,,holdout\n", "line 3.*holdout"),
    "no split": (f"{HEADER}\na.png,,,\n", "line 2"),
    "no image": (f"{HEADER}\n,a_mask.png,,train\n", "line 2"),
    "same image twice": (f"{HEADER}\na.png,,,train\n./sub/../a.png,,,test\n", "lines 2 and 3"),
    "image as mask": (f"{HEADER}\na.png,a.png,,train\n", "line 2"),
    "mask twice": (f"{HEADER}\na.png,b_2.png;b_2.png,,train\n", "line 2"),
    "unlabelled with a mask": (f"{HEADER}\na.png,a_mask.png,,unlabelled\n", "line 2"),
    "too many cells": (f"{HEADER}\na.png,,,train,x\n", "line 2"),
    "too few cells": (f"{HEADER}\na.png,train\n", "line 2"),
    "open quotes": (f'{HEADER}\n"a.png,,,train\n', "line"),
    "no lines": (f"{HEADER}\n", "no line"),
    "Latin-1": (f"{HEADER}\na.png,,Ü,train\n".encode("latin-1"), "UTF-8"),
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


def test_a_table_of_another_kind_is_nobodys_manifest(root: Path) -> None:
    table(root, f"name,finding\na,{'none ' * 100}\n")
    assert find_cases(root).layout == "folder"
    with pytest.raises(DataError, match="image, mask, patient, split"):
        find_cases(root / "manifest.csv")


def test_files_beside_the_table_are_counted(root: Path) -> None:
    table(root, f"{HEADER}\na.png,a_mask.png,,train\nb.png,,,test\n")
    listing = find_cases(root)
    assert {file.name for file in listing.passed_over} == {"c d.png", "b;1.png", "b_2.png", "e.png"}
    assert any("1 images of train or test have no reference" in note for note in listing.notes)


def test_declared_folders_do_not_go_with_a_table(root: Path) -> None:
    table(root, f"{HEADER}\na.png,a_mask.png,,train\n")
    with pytest.raises(DataError, match=r"data\.masks"):
        find_cases(root, Declared(masks="masks"))


def test_what_layouts_find_is_read_again_from_the_table(tmp_path: Path) -> None:
    for name in ("train/images/sub-1_x.png", "train/masks/sub-1_x.png", "test/images/=b.png", "test/masks/=b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = usable_cases(tmp_path)
    (tmp_path / "tables").mkdir()
    target = tmp_path / "tables" / "manifest.csv"
    write_manifest(found, target)
    again = usable_cases(target)
    assert [(c.name, c.patient, c.split, c.image.resolve(), [m.resolve() for m in c.masks]) for c in again.cases] == [
        (c.name, c.patient, c.split, c.image.resolve(), [m.resolve() for m in c.masks]) for c in found.cases
    ]
    with pytest.raises(DataError, match=r"manifest\.csv already exists"):
        write_manifest(found, target)


def test_open_questions_stay_open_in_the_table(tmp_path: Path) -> None:
    for folder in ("images", "1st_manual", "mask"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    write_manifest(find_cases(tmp_path), tmp_path / "manifest.csv")
    assert "1st_manual/a.png | mask/a.png" in (tmp_path / "manifest.csv").read_text()
    with pytest.raises(TrustsegError, match=r"\|, keep one, or put ;"):
        find_cases(tmp_path)


@pytest.mark.parametrize("name", ["Manifest.CSV", "manifest.tsv"])
@pytest.mark.parametrize("separator", [",", "|", "\t"])
def test_a_manifest_may_be_spelt_and_separated_otherwise(root: Path, name: str, separator: str) -> None:
    table(root, f"{HEADER}\na.png,a_mask.png,,test\n".replace(",", separator), name)
    listing = find_cases(root)
    assert listing.layout == "manifest"
    assert [(case.name, case.split) for case in listing.cases] == [("a", "test")]


@pytest.mark.parametrize("header", ["images,masks,patient,split", "image_path,mask_path,id,split", "filename,gt,p,s"])
def test_a_table_of_these_files_is_not_ignored(root: Path, header: str) -> None:
    table(root, f"{header}\na.png,a_mask.png,1,train\n")
    with pytest.raises(DataError, match=f"lacks the column.*found: {header.replace(',', ', ')}"):
        find_cases(root)


def test_of_two_manifests_one_is_to_be_named(root: Path) -> None:
    for name in ("manifest.csv", "manifest.tsv"):
        table(root, f"{HEADER}\na.png,a_mask.png,,test\n", name)
    with pytest.raises(DataError, match=r"manifest\.csv and manifest\.tsv; keep one"):
        find_cases(root)


def test_a_mask_belongs_to_one_patient(root: Path) -> None:
    for first, second in (("1", "2"), ("", "")):
        table(root, f"{HEADER}\na.png,a_mask.png,{first},train\nb.png,a_mask.png,{second},train\n")
        with pytest.raises(DataError, match=r"lines 2 and 3 name the same mask .*a_mask\.png"):
            find_cases(root)
    table(root, f"{HEADER}\na.png,a_mask.png,1,train\nb.png,a_mask.png,1,train\n")  # two views of one lesion
    assert len(find_cases(root).cases) == 2


def test_cells_that_say_nothing_name_no_patient(root: Path) -> None:
    listing = find_cases(table(root, f"{HEADER}\na.png,,N/A,train\nb.png,,nan,train\nsub/e.png,,7,train\n"))
    assert [case.patient for case in listing.cases] == [None, None, "7"]
    assert any("written as N/A, nan are unknown" in note for note in listing.notes)


def test_what_hides_the_header_is_told(root: Path) -> None:
    with pytest.raises(DataError, match="UTF-16"):
        find_cases(table(root, HEADER.encode("utf-16-le")))
    with pytest.raises(DataError, match=r"begins with a comment \(# mine\)"):
        find_cases(table(root, f"# mine\n{HEADER}\n"))
