import ast
from pathlib import Path

import trustseg.cli.predict as module


def test_predicting_needs_no_room_that_loads_lightning() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    rooms = {
        (node.module or "").split(".")[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and "." in (node.module or "")
    }
    assert "evaluation" in rooms
    assert rooms.isdisjoint({"study", "training"})
