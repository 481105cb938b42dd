import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trustseg.data import fetch_qata
from trustseg.errors import DataError, MissingPackageError


def test_without_kagglehub_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingPackageError, match=r"kagglehub.* run: pip install 'trustseg\[qata\]'"):
        fetch_qata()


def test_offline_it_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: str, *, output_dir: str | None) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=fail))
    sentence = r"failed \(ConnectionError: no route to host\).* download it elsewhere from"
    with pytest.raises(DataError, match=sentence):
        fetch_qata()


@pytest.mark.parametrize("target", [None, Path("there")])
def test_it_downloads_the_dataset_to_the_target(monkeypatch: pytest.MonkeyPatch, target: Path | None) -> None:
    calls: list[tuple[str, str | None]] = []

    def download(handle: str, *, output_dir: str | None) -> str:
        calls.append((handle, output_dir))
        return output_dir or "/cache"

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))
    assert fetch_qata(target) == (target or Path("/cache"))
    assert calls == [("aysendegerli/qatacov19-dataset", None if target is None else "there")]
