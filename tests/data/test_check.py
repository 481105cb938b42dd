import json
import os
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
    assert report.lesion_share == pytest.approx(
        {"p10": 0.15, "median": 0.25, "p90": 0.25, "max": 0.25, "mean": 1.5 / 7}
    )
    assert kinds(report) == {
        ("warning", "lateral"),
        ("warning", "unknown_patient"),
        ("note", "layout"),
        ("note", "passed_over"),
        ("note", "empty_mask"),
    }
    assert found(report, "lateral").names == (fake.TEST[0],)
    assert found(report, "unknown_patient").names == ("covid_7",)
    assert found(report, "empty_mask").names == (fake.EMPTY,)
    assert json.loads(json.dumps(asdict(report)))["layout"] == "qata"


def test_unpaired_files(tmp_path: Path) -> None:
    root = fake.qata(tmp_path)
    train = fake.train_set(tmp_path)
    (train / "Ground-truths" / "mask_covid_7.png").rename(train / "Ground-truths" / "mask_covid_8.png")
    report = check_dataset(root)
    assert not report.ok
    assert "data.controls" in found(report, "unpaired_image").message
    assert found(report, "unpaired_image").names[0].endswith("Images/covid_7.png")
    assert found(report, "unpaired_mask").names[0].endswith("Ground-truths/mask_covid_8.png")


@pytest.mark.parametrize("end", ["webp", "pgm", "npy"])
def test_equal_errors_are_one_line(tmp_path: Path, end: str) -> None:
    names = ["a1", "b2", "c3", "d4", "e5"]
    root = fake.two_folders(tmp_path, names)
    for name in names[:4]:
        (root / "images" / f"{name}.png").rename(root / "images" / f"{name}.{end}")
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
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert [(error.kind, error.names) for error in errors] == [
        ("unreadable", ("a",)),
        ("unreadable", ("b",)),
        ("size_mismatch", ("c",)),
        ("mask_values", ()),
    ]
    assert "images/a.png cannot be decoded (unknown format)" in errors[0].message
    assert "masks/b.png cannot be decoded (0 bytes)" in errors[1].message
    assert "c.png has 5x5 pixels but its image" in errors[2].message
    assert "masks/d.png" in errors[3].message
    assert "85 (80 px)" in errors[3].message
    assert report.images == {"train": 5}
    assert set(report.mask_values) == {"0", "85", "255"}


def test_patients_on_both_sides(tmp_path: Path) -> None:
    root = fake.qata(tmp_path)
    test = root / "QaTa-COV19-v2" / "Test Set"
    fake.pairs(test, ["sub-S01_ses-E9_run-1_cr"], images="Images", masks="Ground-truths", affix=("mask_", ""))
    fake.save(fake.image("x"), root / "Control_Group" / "Control_Group_I" / "sub-S02_ses-E9_run-1_cr.png")
    report = check_dataset(root)
    assert not report.ok
    leak = found(report, "patient_leak")
    assert leak.names == ("S01",)
    assert ": 1 (S01);" in leak.message
    assert found(report, "patient_in_controls").names == ("S02",)
    assert found(report, "patient_in_controls").severity == "warning"


def test_the_same_content_in_train_and_test(tmp_path: Path) -> None:
    root = fake.qata(tmp_path)
    base = root / "QaTa-COV19-v2"
    copy = base / "Test Set" / "Images" / f"{fake.TEST[1]}.png"
    with Image.open(base / "Train Set" / "Images" / "covid_7.png") as image:
        image.save(copy, compress_level=0)  # other bytes, same picture
    leak = found(check_dataset(root), "content_leak")
    assert leak.severity == "error"
    assert leak.names == (f"covid_7 = {fake.TEST[1]}",)


def test_the_same_content_within_a_split(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    for name in "bc":
        fake.save(fake.image("a"), root / "images" / f"{name}.png")
    report = check_dataset(root)
    assert report.ok
    assert found(report, "duplicate").names == ("a = b = c",)


def test_near_copies_are_told_as_training_treats_them(tmp_path: Path) -> None:
    root = fake.qata(tmp_path) / "QaTa-COV19-v2"
    film = Image.fromarray(phantom(0, 0, 0, size=96).image)
    film.save(root / "Train Set" / "Images" / "covid_7.png")
    for name in (fake.TEST[0], fake.TEST[1]):
        film.resize((60, 50)).save(root / "Test Set" / "Images" / f"{name}.png")
    report = check_dataset(root)
    assert found(report, "near_copy_leak").severity == "warning"
    assert left_out(1) in found(report, "near_copy_leak").message
    assert found(report, "near_copy_leak").names == (f"covid_7 = {fake.TEST[0]} = {fake.TEST[1]}",)
    assert found(report, "duplicate").names == (f"{fake.TEST[0]} = {fake.TEST[1]}",)


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


def test_names_and_depths(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["holiday", "sub-S1_run-1", "sub-S2_run-1"])
    fake.save(fake.image("x").astype(np.uint16) * 16, root / "images" / "sub-S1_run-1.png")
    report = check_dataset(root)
    assert report.ok
    assert found(report, "unknown_patient").names == ("holiday",)
    assert report.plan[0].startswith("1 image of more than 8 bits: 0 to 4095 became 0 to 255")


def test_findings_come_in_order_and_long_lists_are_cut(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c", "d", "e"])
    (root / "images" / "a.png").write_bytes(b"")
    fake.save(np.zeros((16, 20), dtype=np.uint8), root / "masks" / "b.png")
    report = check_dataset(root)
    assert [finding.severity for finding in report.findings] == ["error", "warning", "note"]
    assert "5 (a, b, c, and 2 more)" in found(report, "unknown_patient").message
    assert found(report, "unknown_patient").names == ("a", "b", "c", "d", "e")


def test_one_pixel_and_no_mask(tmp_path: Path) -> None:
    fake.save(np.array([[9]], dtype=np.uint8), tmp_path / "00000001_000.png")
    report = check_dataset(tmp_path)
    assert report.ok
    assert report.images == {"unlabelled": 1}
    assert ("warning", "unlabelled") in kinds(report)
    assert report.sizes == {"1x1": 1}
    assert report.lesion_share == {}
    assert report.mask_values == {}


def test_images_without_masks_in_a_folder_of_any_name_are_a_warning(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    for name in ("Smith_1", "Smith_2"):
        fake.save(fake.image(name), root / "healthy" / f"{name}.png")
    fake.save(fake.image("p"), root / "previews" / "p.png")
    report = check_dataset(root)
    assert report.ok
    assert found(report, "unplaced").names == ("healthy/Smith_1.png", "healthy/Smith_2.png")
    assert found(report, "unplaced").severity == "warning"
    assert "data.controls=healthy" in found(report, "unplaced").message
    assert found(report, "passed_over").names == ("previews/p.png",)
    declared = check_dataset(root, Declared(controls="healthy"))
    assert declared.images["control"] == 2
    assert "unplaced" not in {finding.kind for finding in declared.findings}


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        check_dataset(tmp_path / "nowhere")


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


def test_images_alone_are_for_prediction_and_need_no_split(tmp_path: Path) -> None:
    fake.save(fake.image("only"), tmp_path / "images" / "only.png")
    assert check_dataset(tmp_path).ok


def test_what_becomes_of_the_images(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    fake.save(np.stack([fake.image(name) for name in "xyz"], axis=-1), root / "images" / "a.png")
    squashed, padded = check_dataset(root, size=16), check_dataset(root, size=16, channels=3, fit="pad")
    assert squashed.channels == {"colour": 1, "grey": 2}
    assert any("1 image with colours" in sentence for sentence in squashed.plan)
    assert any("padded" in sentence for sentence in padded.plan)
    assert any("2 grey images with three equal channels" in sentence for sentence in padded.plan)


def test_blank_images_are_named_by_the_check_and_counted_by_the_pack(tmp_path: Path) -> None:
    root = fake.qata(tmp_path)
    blank = next(root.rglob(f"{fake.TEST[0]}.png"))
    fake.save(np.full((16, 20), 90, dtype=np.uint8), blank)
    finding = found(check_dataset(root), "blank_image")
    assert (finding.severity, finding.names) == ("warning", (fake.TEST[0],))
    assert any("single grey level or colour: 1 of 9" in note for note in write_pack(root, tmp_path / "p", size=8).notes)


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_lesions_that_vanish_are_named_in_the_words_of_packing(tmp_path: Path, fit: Fit) -> None:
    root = fake.two_folders(tmp_path / "data", ["a", "b", "c"])
    for name in "ab":
        dot = np.zeros((16, 20), dtype=np.uint8)
        dot[3, 3] = 255
        fake.save(dot, root / "masks" / f"{name}.png")
    report = check_dataset(root, size=8, fit=fit)
    notes = write_pack(root, tmp_path / "pack", size=8, fit=fit).notes
    lost = found(report, "lost_lesion")
    assert (lost.severity, lost.names) == ("warning", ("a", "b"))
    assert "2 of 3 images" in lost.message
    assert any(lost.message.startswith(note) for note in notes)
    assert set(report.plan) <= set(notes)
    assert "lost_lesion" not in {finding.kind for finding in check_dataset(root, size=20, fit="pad").findings}
    fake.save(dot, root / "masks" / "c.png")
    assert found(check_dataset(root, size=8, fit=fit), "lost_lesion").severity == "error"


def test_masks_called_as_an_image_and_a_number_are_explained(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["1", "2", "3"])
    (root / "masks" / "1.png").rename(root / "masks" / "1_1.png")
    assert "a number at the end" in found(check_dataset(root), "unpaired_mask").message
    (root / "masks" / "1_1.png").rename(root / "masks" / "x.png")
    assert "a number" not in found(check_dataset(root), "unpaired_mask").message


def test_sides_whose_masks_are_all_empty(tmp_path: Path) -> None:
    for side, names in (("train", "abc"), ("test", "de")):
        fake.pairs(tmp_path / side, list(names), images="images", masks="masks")
    for name in "abc":
        fake.save(np.zeros((16, 20), dtype=np.uint8), tmp_path / "train" / "masks" / f"{name}.png")
    report = check_dataset(tmp_path)
    assert report.ok
    assert "all masks of train are empty" in found(report, "all_masks_empty").message


def test_open_questions_are_errors(tmp_path: Path) -> None:
    fake.two_folders(tmp_path, ["a", "b", "c"])
    fake.pairs(tmp_path, ["a", "b", "c"], images="images", masks="lungs")
    assert ("error", "which_masks") in kinds(check_dataset(tmp_path))
    assert check_dataset(tmp_path, Declared(masks="masks")).ok


def test_a_control_with_a_lesion_is_an_error(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c", "d"])
    rows = "".join(
        f"images/{name}.png,masks/{name}.png,{name},{split}\n"
        for name, split in zip("abcd", ("train", "train", "train", "control"), strict=True)
    )
    (root / "manifest.csv").write_text(f"image,mask,patient,split\n{rows}")
    assert found(check_dataset(root), "control_lesion").names == ("d",)
    fake.save(np.zeros((16, 20), np.uint8), root / "masks" / "d.png")
    assert check_dataset(root).ok


def test_subgroups_of_a_manifest_are_counted(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path)
    write_manifest(find_cases(root), table := tmp_path / "table.csv")
    header, *rows = table.read_text().splitlines()
    ends = ["f,a", "m,", *["f,b"] * (len(rows) - 2)]
    table.write_text("\n".join([f"{header},sex,site", *map(",".join, zip(rows, ends, strict=True))]))
    subgroups = check_dataset(table).subgroups
    assert subgroups == {"sex": {"f": len(rows) - 1, "m": 1}, "site": {"b": len(rows) - 2, "a": 1, "": 1}}
    assert check_dataset(root).subgroups == {}


def test_a_table_that_is_not_used_is_told(tmp_path: Path) -> None:
    root = fake.two_folders(tmp_path, ["a", "b", "c"])
    (root / "manifest.csv").write_text("name,finding\na,none\n")
    (root / "images" / "Manifest.tsv").write_text("image\tmask\tpatient\tsplit\n")
    told = [finding for finding in check_dataset(root).findings if finding.kind == "unused_manifest"]
    assert [(finding.severity, finding.names) for finding in told] == [
        ("warning", ("manifest.csv",)),
        ("warning", ("images/Manifest.tsv",)),
    ]
    assert "columns: name, finding" in told[0].message
