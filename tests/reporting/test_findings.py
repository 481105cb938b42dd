"""Each thing a careful reader would ask about is found in a study that was given it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import keep_rows, with_dice
from tests.reporting.given import EVIDENTIAL, collected, one_run

from trustseg.reporting.findings import find_caveats

CELL = Path("cells") / "beta-none-fold0-seed0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings") / "study"
    return one_run(folder, selections=("none", "random"), seeds=3, images=24, patients=24)


@pytest.fixture
def study(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "study"))


def _records(
    condition: str, grey_levels: int, column: str, value: float, *, selection: str = "none"
) -> Callable[[Path], None]:
    """Return what sets a column of the records of one variant under one condition."""
    here = (pl.col("condition") == condition) & ((pl.col("eps") * 255 - grey_levels).abs() < 0.01)

    def doctor(folder: Path) -> None:
        for path in folder.glob(f"cells/beta-{selection}-*/records.parquet"):
            records, changed = pl.read_parquet(path), pl.when(here).then(value).otherwise(column)
            found = with_dice(records, changed) if column == "dice" else records.with_columns(changed.alias(column))
            found.write_parquet(path)

    return doctor


def _written(file: str, key: str, value: object) -> Callable[[Path], None]:
    """Return what sets a value in a JSON file of the first cell."""

    def doctor(folder: Path) -> None:
        path = folder / CELL / file
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return doctor


def _without_an_image(folder: Path) -> None:
    for cell in folder.glob("cells/beta-none-*"):
        keep_rows(cell, pl.col("patient") != "sub-S03")  # who has one image


@pytest.mark.parametrize(
    ("doctor", "found"),
    [
        (lambda folder: None, "^$"),  # a sound study has no caveats
        (lambda folder: (folder / CELL / "done.json").unlink(), "1 of 6 runs are missing"),
        (_records("pgd", 8, "dice", 0.9), r"Dice rises from 0\.\d+ \(PGD 4/255\) to 0\.\d+ \(PGD 8/255\)"),
        (_records("pgd", 1, "dice", 0.95), "PGD is weaker than one-step FGSM at 1/255"),
        (
            _records("pgd", 4, "dice", 0.1, selection="random"),
            r"evidential, random selection: trained with one-step FGSM, Dice under FGSM is 0\.\d+ above Dice under PGD",
        ),
        (_records("fgsm", 2, "linf", 0.5), "FGSM left its L-infinity budget on 72 images"),
        (_written("provenance.json", "data", {"digest": "other"}), "saw different data"),
        (_written("provenance.json", "commit", "other"), "different commits"),
        (_written("provenance.json", "dirty", True), "not committed"),
        (
            _written("done.json", "catastrophic_overfitting", [3, 4]),
            f"^{EVIDENTIAL}: catastrophic overfitting was seen in 1 of 3 trainings.*fold0-seed0, in epochs 3, 4.$",
        ),
        (_without_an_image, "not tested on the same images"),
    ],
)
def test_doctored_studies(study: Path, doctor: Callable[[Path], None], found: str) -> None:
    doctor(study)
    sentences = " ".join(find_caveats(collected(study)))
    assert re.search(found, sentences), sentences


def test_only_one_step_training_can_overfit_to_one_step(study: Path) -> None:
    _records("pgd", 4, "dice", 0.1)(study)  # the variant without adversarial training
    _records("pgd", 4, "dice", 0.1, selection="random")(study)
    for path in study.glob("cells/beta-random-*/config.yaml"):
        path.write_text(path.read_text().replace("attack: fgsm", "attack: pgd"))
    assert "catastrophic" not in " ".join(find_caveats(collected(study)))


def test_few_patients_and_seeds(tmp_path: Path) -> None:
    sentences = find_caveats(collected(one_run(tmp_path / "study", images=8, patients=5)))
    assert "Only 5 patients were tested" in sentences[0]
    assert "Fewer than 3 seeds for every variant" in sentences[1]
