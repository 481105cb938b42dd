"""``trustseg audit``: exit codes, sentences, and two audits side by side."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.audit.given import a_dot
from tests.cli.conftest import Command, refusal


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trustseg.audit.writing.write_figure", a_dot)


def write(folder: str, *, shift: int = 0, count: int = 4) -> None:
    """Write images and masks of a band, or the band moved as predictions in 8 bits."""
    for number in range(count):
        band = np.zeros((16, 16), np.uint8)
        band[:, 4 + shift : 8 + shift] = 255
        pictures = {"images": 60 + number + band // 2, "masks": band} if folder == "data" else {".": 64 + band // 2}
        for kind, pixels in pictures.items():
            Path(folder, kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(Path(folder, kind, f"p{number}.png"))


def ask(text: str) -> Path:
    file = Path("asked.yaml")
    file.write_text(f"requirements: [{text}]")
    return file


def test_the_exit_code_is_the_verdict(command: Command) -> None:
    write("data")
    write("right")
    write("moved", shift=1)
    asked = ask("{metric: dice, at_least: 0.8, confidence: 0.5}")
    found = command("audit", "right", "data", "--require", asked, "-o", "first")
    assert found.code == 0, found.err
    assert found.out.splitlines()[0].startswith("met       Dice at least 0.8")
    assert {file.name for file in Path("first").iterdir()} >= {"audit.html", "audit.json", "tables", "figures", "clean"}
    found = command("audit", "moved", "data", "--require", asked, "-o", "second", "--no-pictures")
    assert found.code == 1, found.err
    assert "not met   Dice at least 0.8: 0.750" in found.out
    found = command("audit", "--compare", "first", "second")
    assert found.code == 0, found.err
    assert "+0.250" in found.out
    assert Path("first/tables/comparison.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "asked", "word"),
    [
        (("absent", "data"), "", "absent"),
        (("right", "absent"), "", "absent"),
        (("right",), "", "--compare"),
        (("--compare", "right", "right"), "", "audit.json"),
        (("right", "data", "--budget", "soon"), "", "soon"),
        (("right", "data", "--convention", "logit"), "", "logit"),
        (("right", "data", "--convention", "output=logit", "--take", "0"), "", "--take and --convention output"),
        (("right", "data", "--convention", "class_index=two"), "", "class_index=two"),
        (("few", "data"), "", "p3"),
        (("right", "data/images"), "", "reference masks"),
        (("right", "data"), "{metric: dize, at_least: 1}", "dize"),
        (("right", "data"), "{metric: dice, condition: jpeg@3, at_least: 1}", "predictions alone"),
        (("right", "data"), "{metric: dice}", "asked.yaml"),
        (("right", "data"), "{metric: dice, at_least: 80}", "80"),
    ],
)
def test_bad_input_is_a_sentence_and_no_verdict(
    command: Command, arguments: tuple[str, ...], asked: str, word: str
) -> None:
    write("data")
    write("right")
    write("few", count=3)
    assert word in refusal(command("audit", *arguments, *(("--require", ask(asked)) if asked else ())))
    assert not Path("audit").exists() or not Path("audit/audit.json").exists()
