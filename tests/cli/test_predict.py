"""``trustseg predict``: what it writes and keeps, policies, DICOM objects, and folders that are watched."""

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests import fake
from tests.cli.conftest import Command, done, full, refusal
from tests.dicom_output.films import film, save
from tests.models.built import SMALL
from tests.policies import policy_with

import trustseg.cli.predict as module
from trustseg.deferral import save_policy
from trustseg.models import build_segmenter
from trustseg.tables import read_csv

FILMS = Path("films/Test Set/Images")
ODD = (
    *("plain.png", "=1+1.png", "-x.png", "\u00fcber \u80ba.png", "a\x1b[2Jb.png", "line\nbreak.png"),
    os.fsdecode(b"caf\xe9.png"),
)


def test_predicting_needs_no_room_that_loads_lightning() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    rooms = {
        (node.module or "").split(".")[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and "." in (node.module or "")
    }
    assert "evaluation" in rooms
    assert rooms.isdisjoint({"study", "training"})


def test_a_full_folder_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    code = (
        "import sys\nfrom trustseg.cli import main\n"
        f"sys.argv = ['trustseg', 'predict', 'nowhere', '.', '-o', {str(tmp_path / 'full')!r}]\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "False\n")
    assert "is not empty" in found.stderr


def test_masks_maps_and_scores(command: Command, untrained: Path) -> None:
    for file in FILMS.iterdir():
        Image.open(file).resize((20, 16)).save(file)
    found = command("predict", untrained, FILMS, "--measure", "vacuity", "-o", "out")
    assert found[:2] == (0, "masks and uncertainty maps: out\nscores: out/predictions.csv\n")
    assert "squashed to 32x32" in found.err
    assert "\npredicting: 6 of 6, " in found.err
    table = pl.read_csv("out/predictions.csv")
    assert table["uncertainty"].is_sorted(descending=True)
    for name in table["image"]:
        for kind in ("masks", "uncertainty"):
            with Image.open(f"out/{kind}/{Path(name).stem}.png") as picture:
                assert picture.size == (20, 16)
    one = min(FILMS.iterdir())
    assert done(command("predict", "run/model", one)).endswith("scores: predictions/predictions.csv\n")
    done(command("predict", untrained, "films", "-o", "all"))  # a data set stands for all of its images
    assert len(pl.read_csv("all/predictions.csv")) == 24


def test_predictions_are_not_overwritten_by_accident(
    command: Command, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = min(FILMS.iterdir())
    done(command("predict", untrained, FILMS, "-o", "out"))
    mine = Path("out/masks/mine.png")
    mine.write_text("not named in the table")
    before = Path("out/predictions.csv").read_text()
    assert "'out' is not empty; give another --output, or --overwrite" in refusal(
        command("predict", untrained, first, "-o", "out")
    )
    assert Path("out/predictions.csv").read_text() == before
    done(command("predict", untrained, first, "-o", "out", "--overwrite"))
    assert pl.read_csv("out/predictions.csv")["image"].to_list() == [first.name]
    assert {path.name for path in Path("out/masks").iterdir()} == {f"{first.stem}.png", "mine.png"}
    assert {path.name for path in Path("out/uncertainty").iterdir()} == {f"{first.stem}.png"}
    full(monkeypatch, "predictions.csv")
    said = refusal(command("predict", untrained, FILMS, "-o", "large"))
    assert "the disk is full at 'large/predictions.csv'" in said
    assert not Path("large/predictions.csv").exists()


def test_a_policy_flags_the_cases_for_a_human(command: Command, untrained: Path) -> None:
    rng = np.random.default_rng(0)
    images = Path("two")
    for name, top in (("a", 255), ("b", 40)):
        fake.save(rng.integers(0, top, (32, 32), dtype=np.uint8), images / f"{name}.png")
    done(command("predict", untrained, images, "-o", "plain", "--measure", "vacuity", "--aggregation", "max"))
    plain = read_csv(Path("plain/predictions.csv"))
    assert "review" not in plain.columns
    policy = policy_with(
        measure="vacuity", aggregation="max", threshold=plain["uncertainty"].mean(), statement="Half of them."
    )
    save_policy(policy, Path("policy.json"))
    said = done(command("predict", untrained, images, "-o", "flagged", "--policy", "policy.json"))
    assert "Half of them." in said
    assert "It is void under attack" in said
    flagged = read_csv(Path("flagged/predictions.csv"))
    assert flagged["review"].to_list() == ["yes", "no"]
    assert set(flagged["guarantee"]) == {"not tested"}  # the policy is of an older version
    save_policy(replace(policy, reference_scores=tuple(np.linspace(5, 6, 200))), Path("policy.json"))
    for copy in range(10):
        fake.save(np.full((32, 32), 20 * copy, np.uint8), images / f"{copy}.png")
    found = command("predict", untrained, images, "-o", "different", "--policy", "policy.json")
    assert found.code == 0, found.err
    assert "The scores of 12 new patients differ from those of 200 calibration patients" in found.err
    assert set(read_csv(Path("different/predictions.csv"))["guarantee"]) == {"void"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_segmenter(architecture="unet", encoder=SMALL, depth=3, size=32).save(tmp_path / "model[1] #%")


def odd_images(folder: Path) -> Path:
    for name in ODD:
        fake.save(fake.image("any"), folder / name)
    return folder


def test_every_name_is_taken(command: Command, model: Path) -> None:
    """Each image gets its mask, the table names them all, no cell is a formula; new predictions replace them."""
    folder = odd_images(Path("images [a] #b"))
    found = command("predict", model, folder, "-o", "out\x1b[2J[*]")
    assert found.code == 0, found.err
    assert "\x1b" not in found.out + found.err
    out = Path("out\x1b[2J[*]")
    assert {file.name for file in (out / "masks").iterdir()} == set(ODD)
    assert set(read_csv(out / "predictions.csv", as_text=True)["image"]) == {*ODD[:-1], r"caf\xe9.png"}
    assert not any(line.startswith(("=", "-")) for line in (out / "predictions.csv").read_text("utf-8").splitlines())
    (folder / ODD[-1]).unlink()
    (folder / "=1+1.png").unlink()
    done(command("predict", model, folder, "-o", out, "--overwrite"))
    assert {file.name for file in (out / "masks").iterdir()} == set(ODD[:-1]) - {"=1+1.png"}
    assert r"no\x1b[2Jmodel" in refusal(command("predict", "no\x1b[2Jmodel", folder))


@pytest.mark.slow
def test_in_a_notebook_on_an_ascii_terminal(model: Path, tmp_path: Path) -> None:
    """The backend of a notebook is not needed, and letters that the terminal lacks are escaped."""
    folder = odd_images(tmp_path / "\u80ba")
    environment = os.environ | {
        "MPLBACKEND": "module://no_such_backend.inline",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    command = [sys.executable, "-m", "trustseg", "predict", str(model), str(folder), "-o", str(tmp_path / "\u00fc")]
    found = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert found.returncode == 0, found.stderr.decode()
    assert rb"\xfc/predictions.csv" in found.stdout
    assert "\u00fcber \u80ba.png" in set(read_csv(tmp_path / "\u00fc" / "predictions.csv", as_text=True)["image"])
    assert len(list((tmp_path / "\u00fc" / "masks").iterdir())) == len(ODD)


def test_dicom_images_give_dicom_objects_unless_told_otherwise(command: Command, untrained: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    save(film(), Path("dicom/a.dcm"))
    (untrained / "config.yaml").write_text("data:\n  path: films\n  target: infection\n")
    found = command("predict", untrained, "dicom", "--segment-type", "SCT:233604007:Pneumonia")
    assert "DICOM objects: predictions/dicom" in done(found)
    (segment,) = pydicom.dcmread("predictions/dicom/a.seg.dcm").SegmentSequence
    assert segment.SegmentLabel == "infection"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Pneumonia"
    done(command("predict", untrained, "dicom", "-o", "plain", "--no-dicom"))
    assert not Path("plain/dicom").exists()
    said = refusal(command("predict", untrained, "dicom", "-o", "odd", "--segment-type", "Pneumonia"))
    assert "SCT:52988006:Lesion" in said
    save(film(SeriesInstanceUID=None), Path("dicom/b.dcm"))
    assert "SeriesInstanceUID" in refusal(command("predict", untrained, "dicom", "-o", "odd"))
    assert not Path("odd").exists()


def test_an_inbox_is_drained_with_what_the_files_are_worth(command: Command, untrained: Path) -> None:
    pytest.importorskip("highdicom")
    save(film(), Path("in/CR.1.2.3.4"))  # as a receiver names files
    save(film(seed=1), Path("in/CR.1.2.3.5"))
    save(film(StudyInstanceUID=None), Path("in/lost.dcm"))
    Path("in/notes.txt").write_text("no image")
    watch = ("predict", untrained, "--watch", "in", "out", "--once", "--interval", "0.1")
    assert "predicted: 2, quarantined: 2; results: out" in done(command(*watch))
    for name in ("CR.1.2.3.4", "CR.1.2.3.5"):
        (folder,) = Path("out").glob(f"{name}.*/")
        assert {file.name for file in folder.iterdir() if not file.name.startswith(".")} == {
            *("dicom", "masks", "uncertainty", "prediction.json", "predictions.csv")
        }
        assert len(list((folder / "dicom").iterdir())) == 4
    (reason,) = Path("out/quarantine").glob("lost.dcm.*/lost.dcm.reason.txt")
    assert "StudyInstanceUID" in reason.read_text()
    assert "predicted: 0, quarantined: 0" in done(command(*watch))


def test_a_watch_voids_the_guarantee_once_the_images_differ_and_after_a_restart(
    command: Command, untrained: Path
) -> None:
    policy = policy_with(threshold=1.0, reference_scores=tuple(number * 1e-9 for number in range(200)))
    save_policy(policy, Path("p.json"))
    generator = np.random.default_rng(0)
    Path("in").mkdir()
    watch = ("predict", untrained, "--watch", "in", "out", "--once", "--interval", "0.1", "--policy", "p.json")
    for start in (0, 20):
        for number in range(start, start + 20):
            Image.fromarray(generator.integers(0, 256, (32, 32), np.uint8)).save(f"in/{number:02d}.png")
        found = command(*watch)
        assert "predicted: 20, quarantined: 0" in found.out
    states = [read_csv(file)["guarantee"][0] for file in sorted(Path("out").glob("*/predictions.csv"))]
    assert states[:9] == 9 * ["not tested"]
    assert states[20:] == 20 * ["void"]
    assert found.err.count("guarantee is void") == 1
    assert "guarantee void" in found.out
    Path("out/broken").mkdir()
    Path("out/broken/predictions.csv").write_text("image\n")
    assert "out/broken/predictions.csv" in refusal(command(*watch))
