"""torch.export files (.pt2): checked to be a plain graph of tensor operations before torch reads them.

``torch.export.load`` unpickles parts of a file, evaluates its expressions and executes the guards in it, so that a
hostile file could run code. Here a file is read only if nothing in it is pickled beyond tensors, its expressions are
arithmetic on sizes and its operators are those of tensors. Guards are never executed.
"""

import ast
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from trustseg.errors import ModelError
from trustseg.models.foreign.network import Facts, ForeignNetwork, SelectedOutput, activated, first_line, noise, probe
from trustseg.models.foreign.stripping import strip_graph

__all__ = ["open_export", "read_program"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_OPERATORS: Final = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(?:add|sub|mul|floordiv|truediv|mod|neg|pos|ge|le|gt|lt|eq|ne|and_|or_|getitem)"
    r"|math\.\w+|torch\.sym_\w+|torch\._sym_\w+"
)
_REFUSED: Final = re.compile(r"torch\.ops\.aten\.(?:from_file|\w*file\w*)\.")
_CALLS: Final = frozenset(  # of sympy and torch.utils._sympy
    name
    for names in (
        "Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality Float FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan Gt",
        "Identity IntTrueDiv Integer Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or Pow PowByNatural",
        "PythonMod Rational RoundDecimal RoundToInt StrictGreaterThan StrictLessThan Symbol ToFloat TruncToFloat",
        "TruncToInt Unequality Where",
    )
    for name in names.split()
)
_ARITHMETIC: Final = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.operator,
    ast.unaryop, ast.Compare, ast.cmpop,
)  # fmt: skip


def open_export(path: Path, *, output: str | int | None, trust_code: bool) -> ForeignNetwork:
    """Return the network of a file that ``torch.export.save`` wrote; ``trust_code`` allows unusual operators."""
    content = path.read_bytes()
    facts = Facts(path.name, "torch.export", hashlib.sha256(content).hexdigest())
    program, module = read_program(content, path, trust_code=trust_code)
    names = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(nodes) != 1 or not isinstance(nodes[0].meta.get("val"), Tensor) or nodes[0].meta["val"].ndim != 4:
        raise ModelError(f"'{facts.name}' has {len(nodes)} inputs, expected one batch of images (B, C, H, W)")
    facts.fix(*(side if isinstance(side, int) else None for side in nodes[0].meta["val"].shape))
    whole = SelectedOutput(module, output, facts.name)
    with torch.no_grad():
        probe(whole, facts)
        inputs = noise(facts.channels or 3, facts.size or 64, batch=facts.batch or 2)
        expected = whole(inputs)
        activation = strip_graph(module) if isinstance(module(inputs), Tensor) else None
        if activation and not torch.allclose(activated(whole(inputs), activation), expected, atol=1e-6, rtol=0):
            raise ModelError(f"'{facts.name}' has a last activation that cannot be taken off; export it without")
    return ForeignNetwork(facts, whole.requires_grad_(False), activation=activation)


def read_program(
    content: bytes, path: Path, *, trust_code: bool = False
) -> tuple[torch.export.ExportedProgram, torch.fx.GraphModule]:
    """Return the program in the content of a file, and its module; a ModelError if it is damaged or not trusted."""
    try:
        _check_content(content, path, trust_code=trust_code)
        program = torch.export.load(io.BytesIO(content))
        return program, program.module(check_guards=False)
    except ModelError:
        raise
    except Exception as error:  # zipfile, json and torch.export raise many kinds
        raise ModelError(
            f"'{path}' cannot be read as a torch.export file ({first_line(error)}); write it with torch.export.save"
        ) from error


def _check_content(content: bytes, path: Path, *, trust_code: bool) -> None:
    """Raise a ModelError if the file holds pickles, or code that is not trusted."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name.partition("/")[2]: name for name in archive.namelist()}
        if len(files) != len(archive.namelist()):
            raise ModelError(f"'{path}' holds two files of one name; save it again with torch.export.save")
        for name in files:
            if not re.fullmatch(
                r"(?:data/(?:weights|constants)/(?:(?:weight|tensor)_\d+|\w+_(?:weights|constants)_config\.json)"
                r"|data/sample_inputs/\w+\.pt|models/\w+\.json|extra/.*|archive_format|archive_version|byteorder"
                r"|\.data/(?:version|serialization_id)|version)",
                name,
            ):
                raise ModelError(f"'{path}' holds '{name}', which is no part of a plain graph; nothing is unpickled")
            data = archive.read(files[name])
            if name.endswith("_config.json") and any(_values(json.loads(data), "use_pickle")):
                raise ModelError(f"'{path}' holds pickled weights, and nothing is unpickled; save it with torch >= 2.9")
            if name.endswith(".pt") and data:
                torch.load(io.BytesIO(data), weights_only=True)  # raises where torch would unpickle the rest
            if name.startswith("models/") and not trust_code:
                _check_graph(json.loads(data), path)


def _check_graph(program: Any, path: Path) -> None:  # noqa: ANN401 - JSON
    """Raise a ModelError unless a graph holds nothing but names, tensor operators and arithmetic."""
    advice = "add --trust-code if you know where it comes from"
    for key in ("target", "as_operator", "name"):
        for value in _values(program, key):
            fits = value is None or (isinstance(value, str) and _NAME.fullmatch(value))
            if key != "name" and fits and value is not None:
                fits = _OPERATORS.fullmatch(value) and not _REFUSED.match(value)
            if not fits:
                raise ModelError(f"'{path}' uses '{value}', which is no operator of tensors; {advice}")
    for value in _values(program, "expr_str"):
        if not _is_arithmetic(value):
            raise ModelError(f"'{path}' holds the expression '{str(value)[:80]}', which is no arithmetic; {advice}")
    for key in ("in_spec", "out_spec"):
        for value in _values(program, key):
            types = set(_values(json.loads(value), "type"))
            contexts = [each for each in _values(json.loads(value), "context") if each not in (None, "null", "[]")]
            plain = types <= {None, "builtins.tuple", "builtins.list", "builtins.dict"}
            if not plain or not all(re.fullmatch(r'\[(?:"\w+"(?:, )?)+\]', each) for each in contexts):
                raise ModelError(
                    f"'{path}' has inputs or outputs of types of its own ({', '.join(map(str, types))}); {advice}"
                )


def _values(content: Any, key: str) -> Iterator[Any]:  # noqa: ANN401 - JSON
    """Yield all values of a key, however deep."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value, key)


def _is_arithmetic(text: object) -> bool:
    """Return whether a text is made of numbers, symbols and functions of sizes only."""
    if not isinstance(text, str):
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _ARITHMETIC):
            return False
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _CALLS):
            return False
        if isinstance(node, ast.Name) and not re.fullmatch(r"[A-Za-z]\w*", node.id):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.fullmatch(r"\w+", node.value):
            return False
    return True
