import ast
from pathlib import Path

import pytest
from tests.cli.conftest import Command, one_sentence
from tests.dicom_output.films import film, save

import trustseg.cli.predict as module
from trustseg.models import build_segmenter


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
