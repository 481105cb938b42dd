"""One network in every form gives the same beliefs, and gradients where the form has them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from tests.models.built import gradient
from tests.models.foreign import networks
from tests.models.foreign.networks import Red
from torch import nn

from trustseg.beliefs import Bernoulli
from trustseg.errors import ModelError
from trustseg.models.foreign import Conventions, ForeignModel, ForeignNetwork, find_conventions, open_model

pytest.importorskip("onnxruntime")

LOGIT = Conventions(output="logit")


class Maite:
    """An object of MAITE's protocol around the network."""

    metadata = {"id": "red"}  # noqa: RUF012 - MAITE's own form

    def __call__(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            return list(Red()(torch.from_numpy(np.stack(batch))).numpy())


def with_file(file: Path | str) -> ForeignNetwork:
    return open_model("tests.models.foreign.networks:make", weights=file, trust_code=True)


def of_safetensors(folder: Path) -> ForeignNetwork:
    save_file(Red().state_dict(), folder / "red.safetensors")
    return with_file(folder / "red.safetensors")


def of_checkpoint(folder: Path) -> ForeignNetwork:
    tensors = {f"module.{key}": value for key, value in Red().state_dict().items()}
    torch.save({"net": tensors, "epoch": 3, "optimizer": {"state": {}}}, folder / "a.pth")
    return with_file(str(folder / "a.pth"))


def channels_last(graph: Any) -> None:  # noqa: ANN401 - a protocol buffer
    graph.node[0].input[0] = "turned"
    graph.node.insert(0, helper.make_node("Transpose", ["images"], ["turned"], perm=[0, 3, 1, 2]))
    graph.node.append(helper.make_node("Transpose", ["logits"], ["last"], perm=[0, 2, 3, 1]))
    for values, name, channels in ((graph.input, "images", 3), (graph.output, "last", 1)):
        del values[:]
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ("b", "h", "w", channels)))


def empty_input(graph: Any) -> None:  # noqa: ANN401 - a protocol buffer
    graph.node[1].CopyFrom(helper.make_node("Clip", ["a", "low", ""], ["b"]))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.float32), "low"))


def copied_weights(graph: Any) -> None:  # noqa: ANN401 - a protocol buffer
    """As exporters do: they write equal weights once and copy them."""
    graph.node[0].input[1] = "copied"
    graph.node.insert(0, helper.make_node("Identity", ["first.weight"], ["copied"]))


def of_weights_beside(folder: Path) -> ForeignNetwork:
    model = onnx.load(networks.write_onnx(folder / "a.onnx"))
    onnx.save_model(model, folder / "red.onnx", save_as_external_data=True, location="red.bin", size_threshold=0)
    return open_model(folder / "red.onnx")


FORMS: dict[str, Callable[[Path], ForeignNetwork]] = {
    "onnx": lambda folder: open_model(networks.write_onnx(folder / "red.onnx")),
    "onnx of a later opset": lambda folder: open_model(networks.write_onnx(folder / "red.onnx", opset=22)),
    "onnx of one image": lambda folder: open_model(networks.write_onnx(folder / "red.onnx", shape=(1, 3, 32, 32))),
    **{
        f"onnx, {change.__name__}": lambda folder, change=change: open_model(  # type: ignore[misc]  # bound in the loop
            networks.rewired(networks.write_onnx(folder / "red.onnx"), change)
        )
        for change in (channels_last, empty_input, copied_weights)
    },
    "onnx with weights beside it": of_weights_beside,
    "export": lambda folder: open_model(networks.write_export(folder / "red.pt2", Red())),
    "script": lambda folder: open_model(networks.write_script(folder / "red.pt", Red()), trust_code=True),
    "function and safetensors": of_safetensors,
    "function and state dict": of_checkpoint,
    "module": lambda folder: open_model(Red()),
    "maite": lambda folder: open_model(Maite()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_network(form: str, tmp_path: Path) -> None:
    images, gradients = networks.images(3), form != "maite"
    network = FORMS[form](tmp_path)
    model = ForeignModel(network, LOGIT)
    networks.check_same(lambda given: model(given).log_odds, images, Red())
    assert model.channels == 3
    assert model.gradients is gradients
    assert (len(model.digest) == 64) is gradients
    assert any(network.facts.name in sentence for sentence in model.description())
    if gradients:
        whole = ForeignModel(open_model(Red()), LOGIT)
        torch.testing.assert_close(gradient(model, images), gradient(whole, images), atol=1e-4, rtol=1e-4)


def test_a_folder_of_smp_needs_no_code(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    own = smp.Unet("resnet18", encoder_weights=None, in_channels=1, encoder_depth=3, decoder_channels=(16, 8, 8)).eval()
    own.save_pretrained(str(tmp_path))
    model = ForeignModel(open_model(tmp_path), LOGIT)
    networks.check_same(lambda given: model(given).log_odds, networks.images(2, channels=1), own)
    assert model.channels == 1
    assert model.gradients


def test_a_segformer_is_read_with_what_it_says_of_its_input(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=2,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        decoder_hidden_size=8,
        num_attention_heads=[1, 1, 1, 1],
    )
    torch.manual_seed(0)
    own = transformers.SegformerForSemanticSegmentation(config).eval()
    own.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2], "do_rescale": true}'
    )
    network = open_model(tmp_path)
    assert network.facts.given == {"order": "rgb", "mean": (0.5,) * 3, "deviation": (0.2,) * 3, "scale": 1}
    model = ForeignModel(network, replace(Conventions("two_channel_logits", 1), **cast(Any, network.facts.given)))
    images = networks.images(2, size=64)
    with torch.no_grad():
        logits = own(pixel_values=(images - 0.5) / 0.2).logits
        expected = nn.functional.interpolate(logits[:, 1:] - logits[:, :1], size=(64, 64), mode="bilinear")
        torch.testing.assert_close(model(images).log_odds, expected, atol=1e-5, rtol=1e-5)


def stopped(images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = networks.Red()(images)
    return found


def test_functions_of_images_are_networks_with_gradients_where_torch_can_differentiate_them() -> None:
    red = networks.Red()
    images = networks.images(2)
    for function, form in (
        (lambda images: red(images), "logit"),
        (lambda images: red(images).sigmoid(), "probability"),
        (lambda images: Bernoulli(red(images)), "logit"),
    ):
        model = ForeignModel(open_model(function), Conventions(form))  # type: ignore[arg-type]  # one of OutputForm
        with torch.no_grad():
            torch.testing.assert_close(model(images).log_odds, red(images), atol=1e-5, rtol=1e-5)
        assert gradient(model, images).abs().sum() > 0
    network = open_model(stopped)
    assert (network.facts.name, network.facts.channels, network.gradients) == ("stopped", 3, False)
    assert "No gradients" in network.facts.notes[-1]
    pointwise = open_model(lambda images: 100 * (images - 0.5))
    assert pointwise.facts.channels == 1
    assert pointwise.facts.digest != open_model(lambda images: 100 * (images - 0.6)).facts.digest


def of_monai() -> nn.Module:
    nets = pytest.importorskip("monai.networks.nets")
    network: nn.Module = nets.BasicUNet(2, in_channels=1, out_channels=2, features=(8, 8, 8, 8, 8, 8))
    return network


def of_timm() -> nn.Module:
    timm = pytest.importorskip("timm")
    encoder = timm.create_model("resnet18", features_only=True, in_chans=1, out_indices=(0, 1))
    return nn.Sequential(encoder, Last(), nn.Conv2d(encoder.feature_info.channels()[-1], 1, 1))


def of_torchvision() -> nn.Module:
    models = pytest.importorskip("torchvision.models.segmentation")
    network: nn.Module = models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    return network


class Last(nn.Module):
    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return features[-1]


LIBRARIES: dict[str, tuple[Callable[[], nn.Module], str | None, Conventions, Callable[[Any], torch.Tensor]]] = {
    "monai": (of_monai, None, Conventions("two_channel_logits"), lambda found: found[:, 1:] - found[:, :1]),
    "timm": (of_timm, None, LOGIT, lambda found: nn.functional.interpolate(found, size=(64, 64), mode="bilinear")),
    "torchvision": (
        of_torchvision,
        "out",
        Conventions("classes", 2),
        lambda found: found["out"][:, 2:] - found["out"][:, :2].logsumexp(dim=1, keepdim=True),
    ),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.filterwarnings("ignore::FutureWarning:monai")  # of its own internals
def test_modules_of_other_libraries_give_their_own_log_odds(library: str) -> None:
    make, output, conventions, read = LIBRARIES[library]
    torch.manual_seed(0)
    own = make().eval()
    model = ForeignModel(open_model(own, output=output), conventions)
    images = networks.images(2, size=64, channels=model.channels)
    networks.check_same(lambda given: model(given).log_odds, images, lambda given: read(own(given)))
    assert gradient(model, images).abs().sum() > 0


@pytest.mark.parametrize("shape", [("b", 3, 48, 48), (1, 3, 48, 48), (4, 3, 48, 48)])
def test_a_fixed_size_is_found_and_used(shape: tuple[str | int, ...], tmp_path: Path) -> None:
    network = open_model(networks.write_onnx(tmp_path / "red.onnx", shape=shape))
    assert network.facts.size == 48
    model = ForeignModel(network, Conventions(size=48))
    images = networks.images(5, size=48)
    networks.check_same(lambda given: model(given).log_odds, images, Red())
    assert model(networks.images(5, size=31)).log_odds.shape == (5, 1, 31, 31)
    assert gradient(model, images).abs().sum() > 0
    with pytest.raises(ModelError, match=r"red\.onnx' needs images of 48 pixels"):
        ForeignModel(network, Conventions(size=64))
    with pytest.raises(ModelError, match=r"red\.onnx' needs images of 48 pixels, but size is 64"):
        find_conventions(network, images, networks.masks(images), fixed={"size": 64})
