"""Models that cannot be used are refused by name, and files from outside run no code."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from tests.models.foreign import networks
from tests.models.foreign.networks import Red, Wrapped
from torch import Tensor, nn

from trustseg.errors import MissingFileError, ModelError, QuestionError, ShapeError
from trustseg.models.foreign import Conventions, ForeignModel, find_conventions, open_model


class Pair(NamedTuple):
    """Two outputs by name."""

    mask: Tensor
    depth: Tensor


def test_several_outputs_are_asked_for_and_chosen_by_name_or_number() -> None:
    for after, name in (
        (lambda found: {"out": found, "aux": -found}, "out"),
        (lambda found: (found, -found), "0"),
        (lambda found: Pair(found, -found), "mask"),
    ):
        with pytest.raises(QuestionError, match=name):
            open_model(Wrapped(None, after))
        with pytest.raises(ModelError, match=f"'other'.*{name}"):
            open_model(Wrapped(None, after), output="other")
        images = networks.images(2)
        with torch.no_grad():
            assert torch.equal(open_model(Wrapped(None, after), output=name)(images), Red()(images))
    assert open_model(Wrapped(None, lambda found: (found, found.mean())))(networks.images(1)).shape == (1, 1, 32, 32)


def test_outputs_of_onnx_are_asked_for_and_chosen(tmp_path: Path) -> None:
    def add(graph: Any) -> None:  # noqa: ANN401 - a protocol buffer
        graph.node.append(helper.make_node("Neg", ["logits"], ["other"]))
        graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ("b", 1, "h", "w")))

    path = networks.rewired(networks.write_onnx(tmp_path / "red.onnx"), add)
    with pytest.raises(QuestionError, match="logits, other"):
        open_model(path)
    with pytest.raises(ModelError, match=r"logit.*logits, other"):
        open_model(path, output="logit")
    for output in ("other", 1):
        network = open_model(path, output=output)
        networks.check_same(network, networks.images(1), lambda given: -Red()(given))
        assert network.gradients


@pytest.mark.parametrize("shape", [("b", 4, "h", "w"), ("b", 3, 32, 48), ("b", 3, "h")])
def test_inputs_of_another_shape_are_refused(shape: tuple[str | int, ...], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"red\.onnx"):
        open_model(networks.write_onnx(tmp_path / "red.onnx", shape=shape))


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ModelError, match="1 or 3 channels"):
        open_model(nn.Conv2d(4, 1, 1))
    with pytest.raises(ShapeError, match=r"1 or 3"):
        ForeignModel(open_model(Red()), Conventions())(torch.zeros(1, 2, 8, 8))
    network = open_model(nn.Conv2d(3, 3, 1))
    with pytest.raises(ModelError, match="class_index"):
        ForeignModel(network, Conventions(output="logit"))(networks.images(1))
    with pytest.raises(ModelError, match="class_index"):
        ForeignModel(network, Conventions(output="classes", class_index=3))(networks.images(1))


def test_an_operator_without_conversion_leaves_predictions(tmp_path: Path) -> None:
    network = open_model(networks.write_onnx(tmp_path / "red.onnx", last="Asinh"))
    assert not network.gradients
    assert any("Asinh" in note for note in network.facts.notes)
    images = networks.images(1)
    networks.check_same(network, images, lambda given: Red()(given).asinh())
    with pytest.raises(ModelError, match=r"red\.onnx.*square"):
        ForeignModel(network, Conventions())(images.requires_grad_())


def test_a_conversion_that_differs_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx2torch

    class Other(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :1] * 3

    monkeypatch.setattr(onnx2torch, "convert", lambda model: Other())
    network = open_model(networks.write_onnx(tmp_path / "red.onnx"))
    assert not network.gradients
    assert any("differs" in note for note in network.facts.notes)


def test_gradients_go_where_the_data_show_a_difference(tmp_path: Path) -> None:
    network = open_model(networks.write_onnx(tmp_path / "red.onnx"))
    assert network.module is not None
    network.module.register_forward_hook(lambda module, given, found: found + 1)
    images = networks.images()
    find_conventions(network, images, networks.masks(images), fixed={})
    assert not network.gradients


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "link.bin"])
def test_weights_outside_the_folder_are_not_read(location: str, tmp_path: Path) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(10_000))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")

    def point(graph: Any) -> None:  # noqa: ANN401 - a protocol buffer
        weight = graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)

    networks.rewired(networks.write_onnx(folder / "red.onnx"), point)
    with pytest.raises(ModelError, match=r"red\.onnx.*outside its folder"):
        open_model(folder / "red.onnx")


@pytest.mark.parametrize("name", ["red.onnx", "red.pt2", "red.pt", "red.txt"])
def test_damaged_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=name):
        open_model(tmp_path / name, trust_code=True)
    with pytest.raises(MissingFileError, match="absent"):
        open_model(tmp_path / f"absent-{name}")


def test_code_runs_only_when_trusted(tmp_path: Path) -> None:
    script = networks.write_script(tmp_path / "red.pt", Red())
    for source in (script, "tests.models.foreign.networks:make"):
        with pytest.raises(ModelError, match="--trust-code"):
            open_model(source)
    torch.save(Red(), tmp_path / "whole.pt")
    with pytest.raises(ModelError, match=r"whole\.pt.*pickle"):
        open_model(tmp_path / "whole.pt", trust_code=True)
    with pytest.raises(ModelError, match=r"whole\.pt"):
        open_model("tests.models.foreign.networks:make", weights=tmp_path / "whole.pt", trust_code=True)


def test_a_smaller_output_is_refused_unless_it_is_a_whole_number_of_times_smaller() -> None:
    """Of convolutions without padding it shows the centre, of strides the whole image; sizes alone do not tell."""
    images = networks.images()
    cropping = nn.Sequential(Red(), nn.Conv2d(1, 1, 5))
    with pytest.raises(ModelError, match=r"28x28.*32x32.*pads its input"):
        find_conventions(open_model(cropping), images, networks.masks(images), fixed={})
    reducing = nn.Sequential(Red(), nn.AvgPool2d(4))
    findings = find_conventions(open_model(reducing), images, networks.masks(images), fixed={"output": "logit"})
    assert findings.notes[-1].startswith("The output is 4 times smaller")


def test_a_module_is_left_as_it_was() -> None:
    network = nn.Sequential(Red(), nn.Dropout()).train()
    open_model(network)
    assert all(module.training for module in network.modules())
    assert all(weight.requires_grad for weight in network.parameters())


def test_a_function_beside_the_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_model_of_red.py").write_text("from tests.models.foreign.networks import Red as build\n")
    (tmp_path / "my_broken_model.py").write_text("def build():\n    raise SystemExit('nothing')\n")
    monkeypatch.chdir(tmp_path)
    assert open_model("my_model_of_red:build", trust_code=True).gradients
    with pytest.raises(ModelError, match=r"my_broken_model:build.*nothing"):
        open_model("my_broken_model:build", trust_code=True)


class Tired(nn.Module):
    """Fails on every input."""

    def forward(self, images: Tensor) -> Tensor:
        raise KeyError("tired\nand more")


def test_what_fails_later_or_marks_nothing_is_named() -> None:
    network = open_model(Red())
    network.module = Tired()
    with pytest.raises(ModelError, match=r"Red.*1x3x32x32.*tired"):
        network(networks.images(1))
    images = networks.images()
    with pytest.raises(ModelError, match="marks nothing"):
        find_conventions(open_model(Wrapped(None, lambda found: found * 0)), images, networks.masks(images), fixed={})


def test_functions_and_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for source in ("tests.models.foreign.networks:absent", "no.such.package:make"):
        with pytest.raises(ModelError, match=source):
            open_model(source, trust_code=True)
    with pytest.raises(ModelError, match=r"networks:images.*Tensor"):
        open_model("tests.models.foreign.networks:images", trust_code=True)
    save_file({"first.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match=r"part\.safetensors"):
        open_model("tests.models.foreign.networks:make", weights=tmp_path / "part.safetensors", trust_code=True)
    tensors = Red().state_dict()
    torch.save({"student": tensors, "teacher": tensors}, tmp_path / "both.pt")
    with pytest.raises(ModelError, match=r"both\.pt.*student, teacher"):
        open_model("tests.models.foreign.networks:make", weights=tmp_path / "both.pt", trust_code=True)
    with pytest.raises(ModelError, match="list"):
        open_model([])


def test_folders_that_hold_no_known_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"model\.safetensors"):
        open_model(tmp_path)
    save_file({}, tmp_path / "model.safetensors")
    for config in ({}, {"_model_class": "os"}, {"_model_class": "Unet", "encoder_name": "tu-hf-hub:somebody/model"}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=r"config\.json"):
            open_model(tmp_path)
    (tmp_path / "model.json").touch()
    with pytest.raises(ModelError, match="model of trustseg"):
        open_model(tmp_path)


def test_segformers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sides = {"depths": [1] * 4, "decoder_hidden_size": 8, "num_attention_heads": [1] * 4}
    config = transformers.SegformerConfig(num_labels=2, hidden_sizes=[8, 8, 8, 8], **sides)
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": ["half"], "image_std": [1]}')
    with pytest.raises(ModelError, match=r"preprocessor_config\.json"):
        open_model(tmp_path)
    other = transformers.SegformerConfig(num_labels=2, hidden_sizes=[8, 8, 8, 16], **sides)
    other.architectures = ["SegformerForSemanticSegmentation"]
    other.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"model\.safetensors.*does not fit"):
        open_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"cannot be read as a SegFormer"):
        open_model(tmp_path)


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def changed(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Rewrite the files of an archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as after:
        for name in before.namelist():
            after.writestr(name, change(name.partition("/")[2], before.read(name)))
    path.write_bytes(content.getvalue())
    return path


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return networks.write_export(tmp_path_factory.mktemp("export") / "red.pt2", Red()).read_bytes()


@pytest.mark.parametrize("part", ["sample inputs", "expression", "operator", "file", "weights", "name", "types"])
def test_an_export_that_would_run_code_is_refused(part: str, export: bytes, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    command = f"__import__('pathlib').Path({str(touched)!r}).touch()"

    def change(name: str, data: bytes) -> bytes:
        if part == "sample inputs" and name.startswith("data/sample_inputs"):
            buffer = io.BytesIO()
            torch.save((Touch(touched),), buffer)
            return buffer.getvalue()
        if part == "weights" and name == "data/weights/model_weights_config.json":
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        if part == "weights" and name == "data/weights/weight_0":
            return pickle.dumps(Touch(touched))
        if name != "models/model.json":
            return data
        text = data.decode()
        match part:
            case "expression":
                found = next(each for each in _expressions(json.loads(text)) if "Symbol" in each)
                return text.replace(json.dumps(found), json.dumps(command)).encode()
            case "operator":
                return text.replace("torch.ops.aten.relu.default", "torch.hub.load").encode()
            case "file":
                return text.replace("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default").encode()
            case "name":
                return text.replace('"relu"', json.dumps(f"relu\n{command}\n")).encode()
            case "types":
                return text.replace("builtins.tuple", "os.system").encode()
        return data

    (tmp_path / "red.pt2").write_bytes(export)
    with pytest.raises(ModelError, match=r"red\.pt2"):
        open_model(changed(tmp_path / "red.pt2", change))
    assert not touched.exists()


def _expressions(content: object) -> list[str]:
    if isinstance(content, dict):
        own = [content["expr_str"]] if "expr_str" in content else []
        return own + [each for value in content.values() for each in _expressions(value)]
    return [each for value in content for each in _expressions(value)] if isinstance(content, list) else []


def test_guards_are_not_executed(export: bytes, tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    def change(name: str, data: bytes) -> bytes:
        if name != "models/model.json":
            return data
        content = json.loads(data)
        content["guards_code"] = [f"__import__('pathlib').Path({str(touched)!r}).touch() or True"]
        return json.dumps(content).encode()

    (tmp_path / "red.pt2").write_bytes(export)
    network = open_model(changed(tmp_path / "red.pt2", change))
    network(networks.images(1))
    assert not touched.exists()
