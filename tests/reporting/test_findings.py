"""Each thing a careful reader would ask about is found in a study that was given it; checks of gradient masking."""

import json
import re
import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from tests.reporting.fake_results import keep_rows, with_dice
from tests.reporting.given import EVIDENTIAL, collected, one_run

from trustseg.reporting.checks import Check, check_matrix, checks_not_run, failed_checks, trust
from trustseg.reporting.contents import Contents
from trustseg.reporting.findings import find_caveats
from trustseg.reporting.overview import summary
from trustseg.reporting.report_data import ReportData

CELL = Path("cells") / "beta-none-fold0-seed0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings") / "study"
    return one_run(folder, selections=("none", "random"), seeds=3, images=24, patients=24)


@pytest.fixture
def doctored(sound: Path, tmp_path: Path) -> Path:
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
            f"^{EVIDENTIAL}: catastrophic overfitting was seen in 1 of 3 trainings.*fold0-seed0, in epochs 4, 5.$",
        ),
        (_without_an_image, "not tested on the same images"),
    ],
)
def test_doctored_studies(doctored: Path, doctor: Callable[[Path], None], found: str) -> None:
    doctor(doctored)
    sentences = " ".join(find_caveats(collected(doctored)))
    assert re.search(found, sentences), sentences


def test_only_one_step_training_can_overfit_to_one_step(doctored: Path) -> None:
    _records("pgd", 4, "dice", 0.1)(doctored)  # the variant without adversarial training
    _records("pgd", 4, "dice", 0.1, selection="random")(doctored)
    for path in doctored.glob("cells/beta-random-*/config.yaml"):
        path.write_text(path.read_text().replace("attack: fgsm", "attack: pgd"))
    assert "catastrophic" not in " ".join(find_caveats(collected(doctored)))


def test_a_gap_that_models_without_adversarial_training_have_too_is_no_overfitting(doctored: Path) -> None:
    for selection in ("none", "random"):
        _records("fgsm", 4, "dice", 0.5, selection=selection)(doctored)
        _records("pgd", 4, "dice", 0.1, selection=selection)(doctored)
    assert "catastrophic" not in " ".join(find_caveats(collected(doctored)))


def test_few_patients_and_seeds(tmp_path: Path) -> None:
    sentences = find_caveats(collected(one_run(tmp_path / "study", images=8, patients=5)))
    assert "Only 5 patients were tested" in sentences[0]
    assert "Fewer than 3 seeds for every variant" in sentences[1]


def test_suspicious_models_are_marked_wherever_their_numbers_stand(stressed: ReportData, stress: Contents) -> None:
    doubted, trusted = "evidential, random selection", EVIDENTIAL
    doubts = failed_checks(stressed.checks)
    assert list(doubts) == ["classical, random selection", doubted]
    assert doubts[doubted] == "unbounded budget 0.17 (at most 0.05)"
    said = find_caveats(stressed)
    assert "left its L-infinity budget" not in " ".join(said)  # shifts change pixels without one
    assert said[1] == (f"{doubted}: every robustness number is not trustworthy; checks that failed: {doubts[doubted]}.")
    for key in ("areas", "worst_case", "undetected_harm", "trade_off"):
        marks = {row["variant"]: row["trust"] for row in stress.tables[key].rows if row["trust"] is not None}
        assert (marks[doubted], marks[trusted]) == ("not trustworthy", "2 of 3 checks passed, not run: transfer")
    frame = summary(stressed).frame()
    assert dict(zip(frame["variant"], frame["trust"], strict=True))[doubted] == "not trustworthy"
    entries = list(stress.charts["worst_case"].legend)
    assert entries == ["no adversarial training", "random selection (not trustworthy)"]


def test_matrix_shows_the_worst_of_several_models(stressed: ReportData) -> None:
    variants, found = check_matrix(stressed.checks)
    assert variants == stressed.results.variants
    names = [name for name, *_ in found]
    assert names == ["zero gradients", "unbounded budget", "transfer"]
    worst = dict(zip(variants, found[1][3], strict=True))["evidential, random selection"]
    assert worst is not None
    assert (worst.status, worst.text) == ("suspicious", "0.17")
    missing = found[2][3][0]
    assert missing is not None
    assert (missing.text, missing.figure) == ("not run", None)
    assert trust(stressed.checks, "of another study") is None


@pytest.mark.slow
def test_the_page_marks_and_maps(stressed: ReportData, stressed_page: Path) -> None:
    told = checks_not_run(stressed.checks)[EVIDENTIAL]
    assert told == "1 of 3 checks not run (transfer: what transfer <means>)"
    text = re.sub(r"<script.*?</script>", "", stressed_page.read_text(), flags=re.DOTALL)
    assert f"{EVIDENTIAL}: {escape(told)}" in text
    assert "not trustworthy for evidential, random selection</span></h2>" in text
    for section in ("robustness", "checks", "shifts"):
        assert f'<section id="{section}">' in text
        assert f'<a href="#{section}">' in text
    for words in ("Version of the table of severities: 1.", "what zero_gradients &lt;means&gt;", "along ISO/IEC 24029"):
        assert words in text
    assert "No natural shifts" not in text
    assert not re.search(r"compli|certif", re.sub(r"data:[^\"]*", "", text), flags=re.IGNORECASE)


def test_a_check_has_passed_only_if_it_was_run_on_every_model() -> None:
    def made(cell: str, name: str, status: Literal["ok", "suspicious", "not_run"]) -> Check:
        figure = None if status == "not_run" else 0.1
        about = {"variant": "beta", "threshold": 0.2, "meaning": "not run: no surrogate"}
        return Check.model_validate({**about, "model": cell, "name": name, "status": status, "figure": figure})

    both = (made("a", "noise", "ok"), made("a", "transfer", "ok"), made("b", "noise", "ok"))
    assert trust((*both, made("b", "transfer", "ok")), "beta") == "all 2 checks passed"
    assert trust((*both, made("b", "transfer", "not_run")), "beta") == "1 of 2 checks passed, not run: transfer"
    assert trust((*both, made("b", "transfer", "suspicious")), "beta") == "not trustworthy"
    told = checks_not_run((*both, made("b", "transfer", "not_run")))
    assert told == {"beta": "1 of 2 checks not run (transfer: no surrogate)"}
    assert checks_not_run(both) == {}
