"""A file written by the command, used by the commands, by an audit and by a script without trustseg and torch."""

import csv
import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests import fake
from tests.cli.conftest import Command, command, one_sentence
from tests.evaluation.packs import pack_of
from tests.export.conftest import Made

from trustseg.audit.subject import ModelOptions, open_subject
from trustseg.deferral.policy_files import sealed
from trustseg.errors import ConfigError, ModelError
from trustseg.export import is_exported, open_exported

__all__ = ["command"]  # a fixture

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "run_exported.py"
BLOCKED = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "trustseg"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def rows(table: Path) -> dict[str, dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return {row["image"]: row for row in csv.DictReader(stream)}


def test_a_file_predicts_as_its_model(made: Made, images: Path, command: Command) -> None:
    assert command("predict", made.file, images, "-o", "file").code == 0
    found = command("predict", made.run, images, "--policy", made.policy, "-o", "model")
    assert "At most half." in found.out
    file, model = rows(Path("file/predictions.csv")), rows(Path("model/predictions.csv"))
    assert {row["review"] for row in model.values()} == {"yes", "no"}
    for name, row in model.items():
        for key in ("uncertainty", "largest_probability"):
            assert float(file[name].pop(key)) == pytest.approx(float(row.pop(key)), abs=2e-5)
        assert file[name] == row
        stem = Path(name).stem
        np.testing.assert_array_equal(pixels(Path(f"file/masks/{stem}.png")), pixels(Path(f"model/masks/{stem}.png")))
        drawn = [pixels(Path(f"{which}/uncertainty/{stem}.png")).astype(int) for which in ("file", "model")]
        assert np.abs(drawn[0] - drawn[1]).max() <= 1


def test_a_script_without_trustseg_and_torch(made: Made, images: Path, command: Command) -> None:
    command("predict", made.file, images, "-o", "ours")
    paths = sorted(map(str, images.glob("*.png")))
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(SCRIPT), str(made.file), *paths], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    table = rows(Path("ours/predictions.csv"))
    for path, line in zip(paths, result.stdout.splitlines(), strict=True):
        row = table[Path(path).name]
        assert line == f"{path} score {row['uncertainty']} review {row['review'] == 'yes'}"
        np.testing.assert_array_equal(pixels(Path(f"{path}.mask.png")), pixels(Path(f"ours/masks/{Path(path).name}")))
    assert len(SCRIPT.read_text().splitlines()) <= 20


def test_the_graph_names_its_dimensions_and_refuses_what_it_does_not_take(made: Made) -> None:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(made.file, options)
    (image,) = session.get_inputs()
    assert (image.shape, image.type) == (["batch", "channels", "height", "width"], "tensor(uint8)")
    shapes = {output.name: output.shape for output in session.get_outputs()}
    maps = {name: ["batch", 1, "height", "width"] for name in ("mask", "probability", "uncertainty")}
    assert shapes == {**maps, "score": ["batch"], "review": ["batch"]}
    for channels, kind in ((2, np.uint8), (4, np.uint8), (1, np.float32)):
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            session.run(None, {"image": np.zeros((1, channels, 8, 8), kind)})


def test_an_audit_gets_the_beliefs_of_the_model(made: Made) -> None:
    pack = pack_of()
    file = open_subject(made.file, pack, ModelOptions())
    model = open_subject(made.run, pack, ModelOptions())
    images = torch.from_numpy(pack.images[:3].copy()).float() / 255
    assert file.model is not None
    assert model.model is not None
    with torch.no_grad():
        found, expected = file.model.belief(images).log_odds, model.model.belief(images).log_odds
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (file.tier, model.tier) == (1, 2)
    with pytest.raises(ConfigError, match="--take"):
        open_subject(made.file, pack, ModelOptions(output="probability"))


def test_predict_refuses_options_that_are_in_the_file(made: Made, images: Path, command: Command) -> None:
    found = command("predict", made.file, images, "--policy", made.policy, "--measure", "variance")
    assert found.code == 2
    assert "--measure, --policy" in one_sentence(found)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "was not written by"), ("{}", "format None"), ('{"format": 1}', "damaged")]
)
def test_predict_refuses_files_of_others(
    made: Made, images: Path, command: Command, text: str | None, words: str
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(made.file)
    onnx.helper.set_model_props(model, {} if text is None else {"trustseg": text})
    onnx.save(model, "other.onnx")
    assert is_exported(Path("other.onnx")) == (text is not None)
    found = command("predict", "other.onnx", images)
    assert found.code == 2
    assert words in one_sentence(found)


def test_a_damaged_file(tmp_path: Path) -> None:
    for suffix, (content, words) in product((".onnx", ".pt2"), ((b"nothing", ""), (b"", " is empty"))):
        (tmp_path / f"a{suffix}").write_bytes(content)
        with pytest.raises(ModelError, match=f"a{suffix}'{words}"):
            open_exported(tmp_path / f"a{suffix}")


def test_exports_that_cannot_be(made: Made, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    other = json.loads(made.policy.read_text())
    Path("other.json").write_text(json.dumps(sealed(other | {"model": "0123456789abcdef"})))
    Path("there.onnx").touch()
    Path("begun/checkpoints").mkdir(parents=True)
    cell = {"id": "c", "variant": "v", "head": "beta", "selection": "none", "fold": -1, "seed": 0}
    Path("mixed").mkdir()
    Path("mixed/cell.json").write_text(json.dumps(cell | {"mixture": {"members": ["one", "two"]}}))
    cases: list[tuple[list[str | Path], str]] = [
        ([made.run, "a.onnx", "--data", "data"], "--precision"),
        ([made.run, "a.onnx", "--precision", "int8"], "--data"),
        ([made.run, "a.pt2", "--precision", "int8", "--data", "data"], "ONNX"),
        ([made.run, "model.pth"], ".onnx"),
        ([made.run, "there.onnx"], "--overwrite"),
        (["begun", "a.onnx"], "has not finished"),
        (["nowhere", "a.onnx"], "nowhere"),
        (["mixed", "a.onnx"], "one, two"),
        ([made.run, "a.onnx", "--policy", "other.json"], "0123456789abcdef"),
        ([made.run, "a.onnx", "--policy", made.policy, "--measure", "variance"], "--measure"),
        ([made.run, "a.onnx", "--measure", "vacuity"], "vacuity"),
        ([made.run, "a.onnx", "--aggregation", "lesion_max"], "lesion_max"),
        ([made.run, "a.onnx", "--aggregation", "patch_max"], "patch_max"),
    ]
    for arguments, words in cases:
        found = command("export", *arguments)
        assert found.code == 2, arguments
        assert words in one_sentence(found)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    found = command("export", made.run, "a.onnx")
    assert found.code == 2
    assert "trustseg[onnx]" in one_sentence(found)
    assert not list(Path().glob("a.*"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_variant_says_what_it_changes(made: Made, command: Command, tmp_path: Path, precision: str) -> None:
    data = fake.two_folders(tmp_path / "data", list("abcdef"))
    found = command("export", made.run, "low.onnx", "--precision", precision, "--data", data)
    assert found.code == 0, found.err
    (line,) = [line for line in found.out.splitlines() if line.startswith("change on")]
    assert line.startswith(f"change on {6 if precision == 'fp16' else 3} images")
    before, after, change = map(float, re.findall(r"Dice ([\d.]+) to ([\d.]+) \(([-+.\d]+)\)", line)[0])
    assert after - before == pytest.approx(change, abs=2e-4)
    exported = open_exported(Path("low.onnx"))
    assert exported.description.precision == precision
    assert exported.model != open_exported(made.file).model
    onnx = pytest.importorskip("onnx")
    kinds = {each.data_type for each in onnx.load("low.onnx").graph.initializer}
    assert (onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.INT8) in kinds
