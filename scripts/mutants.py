"""Change one place of the source at a time and count the changes that the tests notice.

Run: python scripts/mutants.py [--packages metrics losses] [--count 40] [--seed 0]. The sample depends on the seed and
the source alone. A mutant is killed by the mirrored test file or by the other tests of its package. It takes minutes to
hours.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import scipy.stats  # noqa: F401  # imported before forking, as all that is slow to import
import sklearn.metrics  # noqa: F401
import torch
import torchmetrics  # noqa: F401

ROOT = Path(__file__).parents[1]
PACKAGES = ("metrics", "losses", "attacks", "uncertainty")
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult},
    **{ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Is: ast.IsNot},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.IsNot: ast.Is, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult},
}
NOT_CODE = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Mutant:
    """One change: the ``number``-th place of a file that can be changed."""

    file: Path
    number: int


def operator(node: ast.BinOp | ast.AugAssign | ast.BoolOp | ast.Compare) -> ast.AST:
    """Return the operator of a node, of a chain of comparisons the first."""
    return node.ops[0] if isinstance(node, ast.Compare) else node.op


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what can be changed below a node; not annotations, messages and what is raised."""
    if isinstance(node, NOT_CODE):
        return
    swaps = isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp | ast.Compare) and type(operator(node)) in SWAPPED
    drops = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert)
    grows = isinstance(node, ast.Constant) and type(node.value) in (bool, int, float)
    if swaps or drops or grows:
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from places(child)


def mutated(source: str, number: int) -> tuple[str, str]:
    """Return the source with its ``number``-th place changed, and a line that says how."""
    tree = ast.parse(source)
    node = list(places(tree))[number]
    line, before = node.lineno, ast.unparse(node)  # type: ignore[attr-defined]  # every place has a line
    if isinstance(node, ast.Compare):
        node.ops[0] = SWAPPED[type(node.ops[0])]()  # type: ignore[assignment]  # one of its kind
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        node.op = SWAPPED[type(node.op)]()  # type: ignore[assignment]  # one of its kind
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]
    after = copy.deepcopy(node)
    if isinstance(node, ast.UnaryOp):
        after = node.operand
        replace(tree, node, after)
    return ast.unparse(tree), f"line {line}: {before} -> {ast.unparse(after)}"


def replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put a node into the place of another."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(child is old for child in value):
                value[:] = [new if child is old else child for child in value]


def fails(source: Path, tests: Sequence[str], *, seconds: float) -> bool:
    """Return whether the tests fail on a copy of the source, in a fork of this process; too slow is a failure, too."""
    child = os.fork()
    if child == 0:
        os.chdir(ROOT)
        os.setpgid(0, 0)
        sys.path[:0] = [str(source), str(ROOT)]
        silent = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(silent, stream)
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "--timeout=0"]
        os._exit(int(pytest.main([*options, *tests])))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main() -> None:
    """Sample mutants of each package, run the tests on each and print the survivors and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="+", default=PACKAGES, choices=PACKAGES)
    parser.add_argument("--count", type=int, default=40, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600, help="after which a mutant counts as killed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True  # two mutants within a second would share it
    for package in given.packages:
        files = sorted((ROOT / "src" / "trustseg" / package).glob("*.py"))
        every = [Mutant(file, n) for file in files for n in range(len(list(places(ast.parse(file.read_text())))))]
        chosen = random.Random(given.seed).sample(every, min(given.count, len(every)))
        killed = 0
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(shutil.copytree(ROOT / "src", Path(folder) / "src"))
            if fails(copied, [f"tests/{package}"], seconds=given.seconds):
                sys.exit(f"the tests of {package} fail, or take too long, without any change")
            for mutant in chosen:
                target = copied / mutant.file.relative_to(ROOT / "src")
                source, change = mutated(mutant.file.read_text(), mutant.number)
                target.write_text(source)
                mirrored = Path("tests", package, f"test_{mutant.file.stem}.py")
                runs = [[str(mirrored)]] if (ROOT / mirrored).exists() else []
                died = any(fails(copied, run, seconds=given.seconds) for run in [*runs, [f"tests/{package}"]])
                killed += died
                shutil.copy(mutant.file, target)
                if not died:
                    print(f"survived: {package}/{mutant.file.name} {change}", flush=True)
        print(f"{package}: {killed} of {len(chosen)} mutants killed ({killed / len(chosen):.0%})", flush=True)


if __name__ == "__main__":
    main()
