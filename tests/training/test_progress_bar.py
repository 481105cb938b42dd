"""The progress bar says where the training is, and nothing of it stays behind."""

import re
from pathlib import Path

import pytest
from tests.training.tiny import config, pack

from trustseg.training import train


def test_the_bar_ends_full_and_with_the_last_scores(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    train(config("training.epochs=2"), pack(), tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert re.search(r"epoch 2 of 2 .* 100% .* Dice \d\.\d\d, attacked \d\.\d\d", last)


def test_an_error_ends_the_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        train(config(), pack(), tmp_path, progress=True, report=full)
    with pytest.raises(OSError, match="No space"):  # a bar that is still live would refuse a second one
        train(config(), pack(), tmp_path, progress=True, report=full)
    assert "Traceback" not in capfd.readouterr().err
