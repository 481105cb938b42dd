"""The tables of QaTa in README and docs/results are those of the published tables."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("page", "table"), [("README.md", "attacked"), ("docs/results/qata_cpu/README.md", "clean")])
def test_the_page_holds_the_published_table(monkeypatch: pytest.MonkeyPatch, page: str, table: str) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = import_module("qata_tables")
    rows = getattr(script, table)()
    assert len(rows.splitlines()) > 4
    assert f"\n\n{rows}\n\n{script.END}" in (ROOT / page).read_text(encoding="utf-8")
