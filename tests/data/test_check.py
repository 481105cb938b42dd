"""A check names what is there and what is wrong with it, in the words of packing."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import fake

from trustseg.data import CheckReport, Declared, Finding, check_dataset, find_cases, write_manifest, write_pack
from trustseg.data.near_copies import left_out
from trustseg.data.phantom import phantom
from trustseg.data.resizing import Fit
from trustseg.errors import MissingFileError

BLACK = np.zeros((16, 20), dtype=np.uint8)


def found(report: CheckReport, kind: str) -> Finding:
    matches = [finding for finding in report.findings if finding.kind == kind]
    assert len(matches) == 1, report.findings
    return matches[0]


def kinds(report: CheckReport) -> set[tuple[str, str]]:
    return {(finding.severity, finding.kind) for finding in report.findings}


def test_a_sound_dataset(tmp_path: Path) -> None:
    report = check_dataset(fake.qata(tmp_path))
    assert report.ok
    assert report.layout == "qata"
    assert report.images == {"train": 5, "test": 2, "control": 2}
    assert report.patients == {"train": 3, "test": 2, "control": 2}
    assert (report.singletons, report.unknown_patients, report.laterals) == (6, {"train": 1}, {"test": 1})
    assert report.empty_masks == {"train": 1}
    assert report.sizes == {"20x16": 7, "30x30": 2}
    assert report.aspect == {"min": 1.0, "median": 1.25, "max": 1.25}
    assert report.channels == {"grey": 9}
    assert report.passed_over == 1
    assert "9 of 9 images resized to 224x224" in report.plan[0]
    assert "7 images not square (width / height 1.25 to 1.25): squashed" in report.plan[1]
    assert report.mask_values == {"0": 7 * 320 - 6 * 80, "255": 6 * 80}
    shares = {"p10": 0.15, "median": 0.25, "p90": 0.25, "max": 0.25, "mean": 1.5 / 7}
    assert report.lesion_share == pytest.approx(shares)
    warned = {("warning", kind) for kind in ("lateral", "unknown_patient")}
    assert kinds(report) == {*warned, ("note", "layout"), ("note", "passed_over"), ("note", "empty_mask")}
    assert found(report, "lateral").names == (fake.TEST[0],)
    assert found(report, "unknown_patient").names == ("covid_7",)
    assert found(report, "empty_mask").names == (fake.EMPTY,)
    assert json.loads(json.dumps(asdict(report)))["layout"] == "qata"


def leak_patients(root: Path) -> None:
    names = ["sub-S01_ses-E9_run-1_cr"]
    fake.pairs(root / "QaTa-COV19-v2" / "Test Set", names, images="Images", masks="Ground-truths", affix=("mask_", ""))
    fake.save(fake.image("x"), root / "Control_Group" / "Control_Group_I" / "sub-S02_ses-E9_run-1_cr.png")


def copy_to_test(root: Path) -> None:
    base = root / "QaTa-COV19-v2"
    with Image.open(base / "Train Set" / "Images" / "covid_7.png") as image:
        image.save(base / "Test Set" / "Images" / f"{fake.TEST[1]}.png", compress_level=0)  # other bytes, same picture


def near_copies_in_test(root: Path) -> None:
    film = Image.fromarray(phantom(0, 0, 0, size=96).image)
    film.save(root / "QaTa-COV19-v2" / "Train Set" / "Images" / "covid_7.png")
    for name in fake.TEST:
        film.resize((60, 50)).save(root / "QaTa-COV19-v2" / "Test Set" / "Images" / f"{name}.png")


@pytest.mark.parametrize(
    ("spoil", "kind", "severity", "names", "words"),
    [
        (leak_patients, "patient_leak", "error", "S01", ": 1 (S01);"),
        (leak_patients, "patient_in_controls", "warning", "S02", "controls"),
        (copy_to_test, "content_leak", "error", f"covid_7 = {fake.TEST[1]}", "by their content"),
        (near_copies_in_test, "near_copy_leak", "warning", f"covid_7 = {fake.TEST[0]} = {fake.TEST[1]}", left_out(1)),
        (near_copies_in_test, "duplicate", "warning", f"{fake.TEST[0]} = {fake.TEST[1]}", "several times"),
    ],
)
def test_what_stands_on_two_sides(
    tmp_path: Path, spoil: Callable[[Path], None], kind: str, severity: str, names: str, words: str
) -> None:
    root = fake.qata(tmp_path)
    spoil(root)
    report = check_dataset(root)
    assert report.ok == all(grade != "error" for grade, _ in kinds(report))
    finding = found(report, kind)
    assert (finding.severity, finding.names) == (severity, (names,))
    assert words in finding.message


def test_unpaired_files(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["1", "2", "3", "4"])
    (root / "masks" / "1.png").rename(root / "masks" / "1_1.png")
    report = check_dataset(root)
    assert not report.ok
    assert "data.controls" in found(report, "unpaired_image").message
    assert found(report, "unpaired_image").names[0].endswith("images/1.png")
    assert "a number at the end" in found(report, "unpaired_mask").message
    (root / "masks" / "1_1.png").rename(root / "masks" / "x.png")
    finding = found(check_dataset(root), "unpaired_mask")
    assert finding.names[0].endswith("masks/x.png")
    assert "a number" not in finding.message


@pytest.mark.parametrize("end", ["webp", "pgm", "npy"])
def test_equal_errors_are_one_line(tmp_path: Path, end: str) -> None:
    names = ["a1", "b2", "c3", "d4", "e5"]
    root = fake.two_folders(tmp_path, names)
    for name in names[:4]:
        (root / "images" / f"{name}.png").unlink()
        (root / "images" / f"{name}.{end}").write_bytes(b"no PNG")
    error = found(check_dataset(root), "unreadable")
    assert error.names == tuple(names[:4])
    assert f"{end.upper()} files" in error.message
    assert "4 cases like it: a1, b2, c3, and 1 more" in error.message


def test_every_bad_file_is_named_and_the_others_are_still_counted(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c", "d", "e"])
    (root / "images" / "a.png").write_bytes(b"no image")
    (root / "masks" / "b.png").write_bytes(b"")
    fake.save(fake.mask("c", size=(5, 5)), root / "masks" / "c.png")
    fake.save(fake.mask("d") // 3, root / "masks" / "d.png")
    report = check_dataset(root)
    expected = [
        ("unreadable", ("a",), "images/a.png cannot be decoded (unknown format)"),
        ("unreadable", ("b",), "masks/b.png cannot be decoded (0 bytes)"),
        ("size_mismatch", ("c",), "c.png has 5x5 pixels but its image"),
        ("mask_values", (), "masks/d.png: values 0 (240 px), 85 (80 px)"),
    ]
    for error, (kind, names, words) in zip(report.findings[:4], expected, strict=True):
        assert (error.severity, error.kind, error.names) == ("error", kind, names)
        assert words in error.message
    order = [finding.severity for finding in report.findings]
    assert order == ["error"] * 4 + sorted(order[4:], reverse=True)  # warnings, then notes
    assert "5 (a, b, c, and 2 more)" in found(report, "unknown_patient").message
    assert report.images == {"train": 5}
    assert set(report.mask_values) == {"0", "85", "255"}


def test_mask_values_are_read_as_one_coding(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    fake.save(fake.mask("a") // 255, root / "masks" / "a.png")
    report = check_dataset(root)  # 0 and 1 in one file, 0 and 255 in the others
    assert not report.ok
    assert "masks/a.png" in found(report, "mask_values").message
    assert report.mask_values == {"0": 3 * 240, "1": 80, "255": 160}
    told = check_dataset(root, mask_values={"lesion": [1, 255]})
    assert told.ok
    assert told.lesion_share["mean"] == 0.25


def test_one_pixel_and_no_mask(tmp_path: Path) -> None:
    fake.save(np.array([[9]], dtype=np.uint8), tmp_path / "00000001_000.png")
    report = check_dataset(tmp_path)
    assert report.ok
    assert report.images == {"unlabelled": 1}
    assert ("warning", "unlabelled") in kinds(report)
    assert (report.sizes, report.lesion_share, report.mask_values) == ({"1x1": 1}, {}, {})
    with pytest.raises(MissingFileError):
        check_dataset(tmp_path / "nowhere")


def test_images_without_masks_in_a_folder_of_any_name_are_a_warning(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    for name in ("healthy/Smith_1", "healthy/Smith_2", "previews/p"):
        fake.save(fake.image(name), root / f"{name}.png")
    report = check_dataset(root)
    assert report.ok
    unplaced = found(report, "unplaced")
    assert (unplaced.severity, unplaced.names) == ("warning", ("healthy/Smith_1.png", "healthy/Smith_2.png"))
    assert "data.controls=healthy" in unplaced.message
    assert found(report, "passed_over").names == ("previews/p.png",)
    declared = check_dataset(root, Declared(controls="healthy"))
    assert declared.images["control"] == 2
    assert ("warning", "unplaced") not in kinds(declared)


@pytest.mark.real
def test_the_real_chest_x_rays() -> None:
    places = [Path(os.environ.get("TRUSTSEG_DATA", "nowhere")), Path(__file__).parents[3] / "shared" / "data"]
    root = next((place / "covid_cxr" for place in places if (place / "covid_cxr").is_dir()), None)
    if root is None:
        pytest.skip("the real images are absent; set TRUSTSEG_DATA to the folder that holds covid_cxr")
    report = check_dataset(root)
    assert report.ok
    assert report.images == {"train": 76, "test": 24}
    assert report.patients == {"train": 56, "test": 17}
    assert report.empty_masks == {"train": 5, "test": 1}
    assert set(report.mask_values) == {"0", "255"}
    # lungs/ says nothing of its role, two films of one patient look alike, and manifest.csv is a table of another form
    warned = {("warning", kind) for kind in ("unplaced", "near_copy", "unused_manifest")}
    assert kinds(report) == {("note", "empty_mask"), *warned}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["only"], "1 patient,"),
        (["sub-S1_run-1", "sub-S1_run-2", "sub-S1_run-3"], "1 patient,"),
        (["a", "b"], "2 patients,"),
        (["a", "b", "c"], None),
    ],
)
def test_too_few_patients_for_a_split(tmp_path: Path, names: list[str], words: str | None) -> None:
    report = check_dataset(fake.two_folders(tmp_path, names))
    assert report.ok == (words is None)
    if words:
        assert words in found(report, "too_few_patients").message


def test_what_becomes_of_the_images(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    fake.save(np.stack([fake.image(name) for name in "xyz"], axis=-1), root / "images" / "a.png")
    fake.save(fake.image("x").astype(np.uint16) * 16, root / "images" / "b.png")
    squashed, padded = check_dataset(root, size=16), check_dataset(root, size=16, channels=3, fit="pad")
    assert squashed.channels == {"colour": 1, "grey": 2}
    for report, words in (
        (squashed, "1 image of more than 8 bits: 0 to 4095 became 0 to 255"),
        (squashed, "1 image with colours"),
        (padded, "padded"),
        (padded, "2 grey images with three equal channels"),
    ):
        assert any(words in sentence for sentence in report.plan)


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_lesions_that_vanish_are_named_in_the_words_of_packing(tmp_path: Path, fit: Fit) -> None:
    root, dot = fake.two_folders(tmp_path / "data", ["a", "b", "c"]), BLACK.copy()
    dot[3, 3] = 255
    for name in "ab":
        fake.save(dot, root / "masks" / f"{name}.png")
    report = check_dataset(root, size=8, fit=fit)
    pack = write_pack(root, tmp_path / "pack", size=8, fit=fit)
    lost = found(report, "lost_lesion")
    assert pack.lost == ["a", "b"]
    assert pack.index.select("foreground", "foreground_native").rows()[0] == (0, 1)
    assert (lost.severity, lost.names) == ("warning", ("a", "b"))
    assert "(of 3 images): 2 (a, b)" in lost.message
    assert lost.summary in pack.notes
    assert set(report.plan) <= set(pack.notes)
    assert ("warning", "lost_lesion") not in kinds(check_dataset(root, size=20, fit="pad"))
    fake.save(dot, root / "masks" / "c.png")
    assert found(check_dataset(root, size=8, fit=fit), "lost_lesion").severity == "error"


def test_a_pack_notes_without_names_what_a_check_warns_of(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for side, name, value in (("train", "p1_a", 255), ("train", "p2_a", 255), ("test", "p1_b", 0), ("test", "p3_a", 0)):
        picture = fake.image("p1_a") if name == "p3_a" else BLACK + 90 if name == "p1_b" else fake.image(name)
        fake.save(picture, root / side / "images" / f"{name}.png")
        fake.save(np.full(picture.shape[:2], value, dtype=np.uint8), root / side / "masks" / f"{name}.png")
    report = check_dataset(root)
    warned = {finding.kind: len(finding.names) for finding in report.findings}
    kept = ("large_lesion", "content_leak", "all_masks_empty", "unknown_patient", "blank_image")
    assert [warned[kind] for kind in kept] == [2, 1, 0, 4, 1]
    notes = "\n".join(write_pack(root, tmp_path / "pack", size=8).notes)
    assert all(found(report, kind).summary in notes for kind in kept)
    assert "p1_" not in notes


def test_a_manifest_with_subgroups_and_a_control_with_a_lesion(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c", "d"])
    write_manifest(find_cases(root), table := tmp_path / "table.csv")
    header, *rows = table.read_text().splitlines()
    ends = ["f,a", "m,", "f,b", "f,b"]
    rows[3] = rows[3].replace("train", "control")
    table.write_text("\n".join([f"{header},sex,site", *map(",".join, zip(rows, ends, strict=True))]))
    report = check_dataset(table)
    assert report.subgroups == {"sex": {"f": 3, "m": 1}, "site": {"b": 2, "a": 1, "": 1}}
    assert found(report, "control_lesion").names == ("d",)
    fake.save(BLACK, root / "masks" / "d.png")
    assert check_dataset(table).ok


def test_a_table_that_is_not_used_is_told(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    (root / "manifest.csv").write_text("name,finding\na,none\n")
    (root / "images" / "Manifest.tsv").write_text("image\tmask\tpatient\tsplit\n")
    told = {f.names: f for f in check_dataset(root).findings if f.kind == "unused_manifest"}
    assert told.keys() == {("manifest.csv",), ("images/Manifest.tsv",)}
    assert {finding.severity for finding in told.values()} == {"warning"}
    assert "columns: name, finding" in told["manifest.csv",].message
