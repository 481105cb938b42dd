import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Command, one_sentence
from tests.dicom_output.films import film, save
from tests.policies import policy_with

import trustseg.cli.predict as module
from trustseg.deferral import save_policy
from trustseg.models import build_segmenter
from trustseg.tables import read_csv


def test_predicting_needs_no_room_that_loads_lightning() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    rooms = {
        (node.module or "").split(".")[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and "." in (node.module or "")
    }
    assert "evaluation" in rooms
    assert rooms.isdisjoint({"study", "training"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_segmenter(architecture="unet", encoder="resnet18", depth=3, size=32).save(tmp_path / "run" / "model")


def test_dicom_images_give_dicom_objects_unless_told_otherwise(command: Command, model: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    save(film(), Path("films/a.dcm"))
    (model.parent / "config.yaml").write_text("data:\n  path: films\n  target: infection\n")
    found = command("predict", model, "films", "--segment-type", "SCT:233604007:Pneumonia")
    assert (found.code, "DICOM objects: predictions/dicom" in found.out) == (0, True)
    (segment,) = pydicom.dcmread("predictions/dicom/a.seg.dcm").SegmentSequence
    assert segment.SegmentLabel == "infection"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Pneumonia"
    assert command("predict", model, "films", "-o", "plain", "--no-dicom").code == 0
    assert not Path("plain/dicom").exists()


def test_what_dicom_cannot_hold_gets_a_sentence(command: Command, model: Path) -> None:
    pytest.importorskip("highdicom")
    save(film(), Path("films/a.dcm"))
    assert "SCT:52988006:Lesion" in one_sentence(command("predict", model, "films", "--segment-type", "Pneumonia"))
    save(film(SeriesInstanceUID=None), Path("films/b.dcm"))
    assert "SeriesInstanceUID" in one_sentence(command("predict", model, "films"))
    assert not Path("predictions").exists()


def test_an_inbox_is_drained_with_what_the_files_are_worth(command: Command, model: Path) -> None:
    pytest.importorskip("highdicom")
    save(film(), Path("in/CR.1.2.3.4"))  # as a receiver names files
    save(film(seed=1), Path("in/CR.1.2.3.5"))
    save(film(StudyInstanceUID=None), Path("in/lost.dcm"))
    Path("in/notes.txt").write_text("no image")
    found = command("predict", model, "--watch", "in", "out", "--once", "--interval", "0.1")
    assert found.code == 0
    assert "predicted: 2, quarantined: 2; results: out" in found.out
    for name in ("CR.1.2.3.4", "CR.1.2.3.5"):
        (folder,) = Path("out").glob(f"{name}.*/")
        assert {file.name for file in folder.iterdir() if not file.name.startswith(".")} == {
            *("dicom", "masks", "uncertainty", "prediction.json", "predictions.csv")
        }
        assert len(list((folder / "dicom").iterdir())) == 4
    (reason,) = Path("out/quarantine").glob("lost.dcm.*/lost.dcm.reason.txt")
    assert "StudyInstanceUID" in reason.read_text()
    again = command("predict", model, "--watch", "in", "out", "--once", "--interval", "0.1")
    assert "predicted: 0, quarantined: 0" in again.out


def test_a_watch_voids_the_guarantee_once_the_images_differ_and_after_a_restart(command: Command, model: Path) -> None:
    save_policy(
        policy_with(threshold=1.0, reference_scores=tuple(number * 1e-9 for number in range(200))), Path("p.json")
    )
    generator = np.random.default_rng(0)
    Path("in").mkdir()
    watch = ("predict", model, "--watch", "in", "out", "--once", "--interval", "0.1", "--policy", "p.json")
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
    assert "out/broken/predictions.csv" in one_sentence(command(*watch))


def test_settings_that_do_not_fit_are_told_before_any_file_is_blamed(command: Command, model: Path) -> None:
    pytest.importorskip("pydicom")
    save(film(), Path("in/a.dcm"))
    watch = ("--watch", "in", "out", "--once")
    assert "no measure 'vacuity'" in one_sentence(command("predict", model, *watch, "--measure", "vacuity"))
    assert "leave IMAGES" in one_sentence(command("predict", model, "in", *watch))
    assert "leave IMAGES" in one_sentence(command("predict", model, *watch, "-o", "there"))
    assert "--watch" in one_sentence(command("predict", model))
    assert "--watch" in one_sentence(command("predict", model, "in", "--once"))
    assert "no inbox" in one_sentence(command("predict", model, "--watch", "nowhere", "out"))
    assert not Path("out/quarantine").exists()
    Path("policy.json").write_text("{}")
    assert "'policy.json' is a file" in one_sentence(command("predict", model, "nowhere", "-o", "policy.json"))
