"""Other libraries say of one segmentation model what trustseg says, and the docs show the table of the example."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from trustseg.metrics import dice, expected_calibration_error, hausdorff_95, surface_dice

ROOT = Path(__file__).parents[2]
NEEDS = {
    "ART": "art",
    "HEART": "heart_library",
    "MAITE": "maite",
    "nrtk": "nrtk",
    "MONAI metrics": "monai",
    "torch-uncertainty": "torch_uncertainty",
}


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peers", ROOT / "examples" / "peers.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["peers"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Blurred(nn.Module):
    """Marks what is bright after a blur of 3 x 3 pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return 10 * (nn.functional.avg_pool2d(images, 3, 1, 1) - 0.5)


def discs(count: int = 8, size: int = 32) -> tuple[Tensor, Tensor]:
    """Return images of bright discs in noise, in steps of 1/255, and masks of the discs."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centres = torch.randint(10, size - 10, (count, 2, 1, 1), generator=generator)
    radii = torch.randint(4, 8, (count, 1, 1), generator=generator)
    masks = (((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2) <= radii**2).float()[:, None]
    noise = 0.1 * torch.randn(masks.shape, generator=generator)
    return (255 * (0.4 + 0.25 * masks + noise).clamp(0, 1)).round() / 255, masks


def test_the_docs_show_the_table_of_the_example(peers: ModuleType) -> None:
    lines = (ROOT / "docs" / "audit.md").read_text().splitlines()
    for name, peer in peers.PEERS.items():
        row = peers.row_of(name, peer, peer.package)
        assert [line for line in lines if line.startswith(row.removesuffix(" |"))], row
    assert {*NEEDS, "trustseg"} == set(peers.PEERS)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::FutureWarning:monai")  # of the functions' own internals
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NEEDS)
def test_they_say_what_trustseg_says(peers: ModuleType, name: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS[name], exc_type=ImportError)
    model, (images, masks) = Blurred(), discs()
    probability = torch.sigmoid(model(images))
    predicted = probability > 0.5
    clean = float(dice(predicted, masks).mean())
    found = peers.PEERS[name].ask(model, peers.Scene(tmp_path, images, masks))
    if name in ("ART", "HEART", "nrtk"):
        assert 0 <= found["dice"] < clean
        return
    pairs = zip(probability, masks, strict=True)
    by_image = [float(expected_calibration_error(p[None], mask[None])) for p, mask in pairs]
    expected = {
        "MAITE": {"dice": clean},
        "MONAI metrics": {
            "dice": clean,
            "hausdorff_95": float(hausdorff_95(predicted, masks).mean()),
            "surface_dice": float(surface_dice(predicted, masks).mean()),
            "ece": sum(by_image) / len(by_image),
        },
        "torch-uncertainty": {"ece": float(expected_calibration_error(probability, masks)), "aurc": found.get("aurc")},
    }
    assert dict(found) == pytest.approx(expected[name], abs=1e-5)
