"""What other libraries say of one segmentation model is what trustseg says, and the docs count their lines."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from trustseg.metrics import dice, expected_calibration_error, hausdorff_95, surface_dice

ROOT = Path(__file__).parents[2]
NEEDS = {"ART": "art", "MONAI metrics": "monai", "torch-uncertainty": "torch_uncertainty", "nrtk": "nrtk"}


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peers", ROOT / "examples" / "peers.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_docs_count_the_lines_of_the_example(peers: ModuleType) -> None:
    text = (ROOT / "docs" / "audit.md").read_text()
    for name, ask in peers.PEERS.items():
        rows = re.findall(rf"^\| {name.split()[0]} .*\| (\d+) \|$", text, re.MULTILINE)
        assert rows == [str(peers.lines_of(ask))], name


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::FutureWarning:monai")  # of the functions' own internals
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NEEDS)
def test_they_say_what_trustseg_says(peers: ModuleType, name: str) -> None:
    pytest.importorskip(NEEDS[name], exc_type=ImportError)
    model, (images, masks) = peers.Blurred(), peers.scene()
    probability = torch.sigmoid(model(images))
    predicted = probability > 0.5
    clean = float(dice(predicted, masks).mean())
    found = peers.PEERS[name](model, images, masks)
    if name in ("ART", "nrtk"):
        assert 0 <= found["dice"] < clean
        return
    pairs = zip(probability, masks, strict=True)
    by_image = [float(expected_calibration_error(p[None], mask[None])) for p, mask in pairs]
    expected = {
        "MONAI metrics": {
            "dice": clean,
            "hausdorff_95": float(hausdorff_95(predicted, masks).mean()),
            "surface_dice": float(surface_dice(predicted, masks).mean()),
            "ece": sum(by_image) / len(by_image),
        },
        "torch-uncertainty": {"ece": float(expected_calibration_error(probability, masks)), "aurc": found.get("aurc")},
    }
    assert dict(found) == pytest.approx(expected[name], abs=1e-5)
