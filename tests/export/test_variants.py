"""Networks in lower precision: what they are, and what they change on images with masks."""

import re
from pathlib import Path

import pytest
from tests import fake
from tests.cli.conftest import Command, command, one_sentence
from tests.export.conftest import Made

from trustseg.export import open_exported

__all__ = ["command"]  # a fixture

onnx = pytest.importorskip("onnx")


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
    kinds = {each.data_type for each in onnx.load("low.onnx").graph.initializer}
    assert (onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.INT8) in kinds


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.onnx", "--data", "data"], "--precision"),
        (["a.onnx", "--precision", "int8"], "--data"),
        (["a.pt2", "--precision", "int8", "--data", "data"], "ONNX"),
    ],
)
def test_options_that_do_not_go_together(made: Made, command: Command, arguments: list[str], words: str) -> None:
    found = command("export", made.run, *arguments)
    assert found.code == 2
    assert words in one_sentence(found)
