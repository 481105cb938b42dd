"""Each thing a careful reader would ask about is found in a study that was given it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import keep_rows, with_dice, write_study

from trustseg.reporting.findings import find_caveats
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import load_results

CELL = Path("cells") / "beta-none-fold0-seed0"


def _study(folder: Path) -> Path:
    selections = ("none", "random")
    return write_study(folder, heads=("beta",), selections=selections, seeds=3, images=24, patients=24, gallery=False)


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


def _provenance(key: str, value: object) -> Callable[[Path], None]:
    def doctor(folder: Path) -> None:
        path = folder / CELL / "provenance.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return doctor


def _without_an_image(folder: Path) -> None:
    for cell in folder.glob("cells/beta-none-*"):
        keep_rows(cell, pl.col("patient") != "sub-S03")  # who has one image


def test_what_the_watch_saw_is_told(tmp_path: Path) -> None:
    path = _study(tmp_path / "study") / CELL / "done.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"catastrophic_overfitting": [3, 4]}))
    (found,) = find_caveats(collect(load_results(tmp_path / "study"), draws=5))
    assert found.startswith(
        "evidential, no adversarial training: catastrophic overfitting was seen in 1 of 3 trainings"
    )
    assert found.endswith("first in beta-none-fold0-seed0, in epochs 3, 4.")


def test_a_sound_study_has_no_caveats(tmp_path: Path) -> None:
    assert find_caveats(collect(load_results(_study(tmp_path / "study")), draws=5)) == []


@pytest.mark.parametrize(
    ("doctor", "found"),
    [
        (lambda folder: (folder / CELL / "done.json").unlink(), "1 of 6 runs are missing"),
        (_records("pgd", 8, "dice", 0.9), r"Dice rises from 0\.\d+ \(PGD 4/255\) to 0\.\d+ \(PGD 8/255\)"),
        (_records("pgd", 1, "dice", 0.95), "PGD is weaker than one-step FGSM at 1/255"),
        (
            _records("pgd", 4, "dice", 0.1, selection="random"),
            r"evidential, random selection: trained with one-step FGSM, Dice under FGSM is 0\.\d+ above Dice under PGD",
        ),
        (_records("fgsm", 2, "linf", 0.5), "FGSM left its L-infinity budget on 72 images"),
        (_provenance("data", {"digest": "other"}), "saw different data"),
        (_provenance("commit", "other"), "different commits"),
        (_provenance("dirty", True), "not committed"),
        (_without_an_image, "not tested on the same images"),
    ],
)
def test_doctored_studies(tmp_path: Path, doctor: Callable[[Path], None], found: str) -> None:
    folder = _study(tmp_path / "study")
    doctor(folder)
    sentences = " ".join(find_caveats(collect(load_results(folder), draws=5)))
    assert re.search(found, sentences), sentences


def test_only_one_step_training_can_overfit_to_one_step(tmp_path: Path) -> None:
    folder = _study(tmp_path / "study")
    _records("pgd", 4, "dice", 0.1)(folder)  # the variant without adversarial training
    assert "catastrophic" not in " ".join(find_caveats(collect(load_results(folder), draws=5)))
    _records("pgd", 4, "dice", 0.1, selection="random")(folder)
    for path in folder.glob("cells/beta-random-*/config.yaml"):
        path.write_text(path.read_text().replace("attack: fgsm", "attack: pgd"))
    assert "catastrophic" not in " ".join(find_caveats(collect(load_results(folder), draws=5)))


def test_few_patients_and_seeds(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), seeds=1, images=8, patients=5, gallery=False)
    sentences = find_caveats(collect(load_results(folder), draws=5))
    assert "Only 5 patients were tested" in sentences[0]
    assert "Fewer than 3 seeds for every variant" in sentences[1]
