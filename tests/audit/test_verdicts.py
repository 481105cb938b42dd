"""Verdicts of predictions whose Dice is known in closed form."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.audit.given import maps_of, pack_of_shifts
from torch import Tensor, nn

from trustseg.audit import ModelOptions, Requirement, audit, read_requirements
from trustseg.audit.evidence import Evidence
from trustseg.audit.measuring import measure_clean, rows_to_audit
from trustseg.audit.quantities import QUANTITIES, MeasuredImages
from trustseg.audit.requirements import default_requirements
from trustseg.audit.subject import open_subject
from trustseg.audit.verdicts import describe, judge, missing_needs, require_known
from trustseg.errors import ConfigError, DataError, QuestionError, TrustsegError, UnknownNameError
from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.labels import CLEAN


def evidence_of(shifts: list[int], folder: Path, *, controls: int = 0) -> Evidence:
    pack = pack_of_shifts(shifts, controls=controls)
    subject = open_subject(maps_of(pack), pack, ModelOptions())
    rows = rows_to_audit(subject, "all", allow_training_patients=False)
    return measure_clean(subject, rows, folder, report=lambda stage, done, total: None)


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Every Dice is 0.75, on 24 patients; 4 controls."""
    return evidence_of([2] * 24, tmp_path_factory.mktemp("alike"), controls=4)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Dice 1 and 0.25 in turn."""
    return evidence_of([0, 6] * 12, tmp_path_factory.mktemp("mixed"))


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [
        ({"at_least": 0.75}, "met"),
        ({"at_least": 0.7501}, "not met"),
        ({"at_least": 0.7}, "met"),
        ({"at_most": 0.75}, "met"),
        ({"at_most": 0.7499}, "not met"),
        ({"at_most": 0.8}, "met"),
    ],
)
def test_a_value_without_spread_is_judged_at_above_and_below_its_bound(
    alike: Evidence, bound: dict[str, float], outcome: str
) -> None:
    found = judge(Requirement(metric="dice", **bound), alike, draws=200)
    assert (found.outcome, found.interval.value, found.interval.patients) == (outcome, 0.75, 24)


def test_the_interval_decides_and_a_lower_confidence_shows_more(mixed: Evidence) -> None:
    wide = judge(Requirement(metric="dice", at_least=0.55), mixed, draws=500)
    assert wide.interval.value == pytest.approx(0.625)
    assert (wide.outcome, wide.interval.low < 0.55 < wide.interval.high) == ("not shown", True)
    narrow = judge(Requirement(metric="dice", at_least=0.55, confidence=0.5), mixed, draws=500)
    assert (narrow.outcome, narrow.interval.low > wide.interval.low) == ("met", True)


def test_quantities_are_those_of_the_closed_form(alike: Evidence, mixed: Evidence) -> None:
    def value(name: str, evidence: Evidence) -> float:
        return QUANTITIES[name](MeasuredImages(evidence, draws=50)).value

    assert value("iou", alike) == pytest.approx(6 / 10)
    assert value("pooled_dice", alike) == value("sensitivity", alike) == value("precision", alike) == 0.75
    assert value("area_error", alike) == 0
    assert (value("failure_rate", alike), value("failure_rate", mixed)) == (0, 0.5)
    assert value("false_alarm_rate", alike) == value("false_positive_area", alike) == 0
    assert value("failure_auroc", mixed) == 0.5  # all images look alike: ties


def test_a_distance_is_no_share_here_and_in_a_report(tmp_path: Path) -> None:
    evidence = evidence_of([0, 1, 1], tmp_path)
    found = QUANTITIES["hausdorff_95"](MeasuredImages(evidence, draws=50))
    assert found.high > 1  # though no value is
    results = replace(evidence.results(CLEAN), draws=50)
    assert mean_of(results, evidence.name, CLEAN, "metric_hausdorff_95") == found


def test_a_subgroup_is_judged_by_itself(mixed: Evidence) -> None:
    north = judge(Requirement(metric="dice", at_most=0.25, subgroup="site=north"), mixed, draws=50)
    south = judge(Requirement(metric="dice", at_least=0.5, subgroup="site=south"), mixed, draws=50)
    assert (north.outcome, south.outcome, north.interval.count) == ("met", "met", 12)
    for odd in ("site=west", "age=9"):
        with pytest.raises(ConfigError, match=odd.partition("=")[0]):
            judge(Requirement(metric="dice", at_least=1.0, subgroup=odd), mixed)


def test_what_was_not_measured_is_not_shown(alike: Evidence) -> None:
    found = judge(Requirement(metric="dice", at_least=0.1, condition="jpeg@3"), alike)
    assert (found.outcome, found.interval.count) == ("not shown", 0)


@pytest.mark.parametrize(
    ("entry", "kind", "word"),
    [
        ({"metric": "dize", "at_least": 1}, UnknownNameError, "dize"),
        ({"metric": "dice", "at_least": 1, "condition": "rain@3"}, UnknownNameError, "rain"),
        ({"metric": "dice", "at_least": 1, "condition": "jpeg@6"}, ConfigError, "jpeg@6"),
        ({"metric": "dice", "at_least": 1, "condition": "pgd@4"}, ConfigError, "pgd@4"),
        ({"metric": "dice_drop", "at_most": 1}, ConfigError, "dice_drop"),
        ({"metric": "dice_native", "at_least": 1, "condition": "jpeg@3"}, ConfigError, "dice_native"),
        ({"metric": "ece", "at_most": 1, "subgroup": "site=north"}, ConfigError, "ece"),
        ({"metric": "dice", "at_least": 80}, ConfigError, "80"),
        ({"metric": "dice_drop", "at_most": -2, "condition": "jpeg@3"}, ConfigError, "-2"),
    ],
)
def test_requirements_that_cannot_be_are_refused(
    entry: dict[str, object], kind: type[TrustsegError], word: str
) -> None:
    with pytest.raises(kind, match=word):
        require_known(Requirement.model_validate(entry))


def test_a_misspelt_metric_names_its_file(tmp_path: Path) -> None:
    file = tmp_path / "needs.yaml"
    file.write_text("requirements: [{metric: dize, at_least: 0.8}]")
    with pytest.raises(UnknownNameError, match=r"needs\.yaml.*dize"):
        audit("model", tmp_path, file)


def test_what_a_tier_lacks_is_named() -> None:
    predictions = frozenset({"masks", "controls", "policy"})
    under_attack = Requirement(metric="dice", at_least=0.5, condition="pgd@1/255")
    assert "gradients" in missing_needs(under_attack, available=predictions | {"model"})
    assert not missing_needs(under_attack, available=predictions | {"model", "gradients"})
    assert "probabilities" in missing_needs(Requirement(metric="ece", at_most=1), available=predictions)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", ""),
        ("requirements: []", ""),
        ("requirements: [{metric: dice}]", ""),
        ("requirements: [{metric: dice, at_least: 1, at_most: 2}]", ""),
        ("requirements: [{metric: dice, at_least: 1, unit: px}]", "', requirement 1: unit: "),
        ("requirements: [{metrc: dice, at_least: 1}]", "', requirement 1: metrc: "),  # before the one that is missing
        ("requirements: [{metric: dice, at_least: 1, confidence: 1}]", ""),
        ("requirements: [{metric: dice, at_least: 1, condition: jpeg}]", ""),
        ("requirements: [{metric: dice, at_least: 1, subgroup: north}]", ""),
        ("requirements: [{metric: dice, at_least: 1}]\nmore: 1", ""),
    ],
)
def test_a_file_that_holds_something_else_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "asked.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"asked\.yaml{words}"):
        read_requirements(file)


def test_the_shipped_requirements_exist() -> None:
    shipped = default_requirements()
    assert {each.metric for each in shipped} <= {*QUANTITIES}
    assert len({describe(each) for each in shipped}) == len(shipped) > 5
    for each in shipped:
        require_known(each)


class Labels(nn.Module):
    """Gives pixels brighter than 1/2 the label 1."""

    def forward(self, images: Tensor) -> Tensor:
        return (images[:, :1] > 0.5).long()


def test_a_model_that_returns_labels_has_no_probability_to_judge() -> None:
    subject = open_subject(Labels(), pack_of_shifts([0, 0]), ModelOptions())
    assert subject.tier == 1
    assert not subject.has_probability


def bright_at_32_pixels(images: Tensor) -> Tensor:
    return 100 * (images - 0.5) if images.shape[-1] == 32 else images - 20.5


def test_the_size_of_every_image_is_tried_where_nothing_is_found_at_224(tmp_path: Path) -> None:
    pack = pack_of_shifts([0, 0, 1])
    for kind, arrays in (("images", pack.images), ("masks", 255 * pack.masks)):
        (tmp_path / kind).mkdir()
        for row, array in enumerate(arrays):
            array = np.roll(array[0], row, axis=1)  # no image twice
            Image.fromarray(array).save(tmp_path / kind / f"case{row}.png")
    subject = open_subject(bright_at_32_pixels, tmp_path, ModelOptions())
    assert subject.pack.size == 32
    assert "at 224 no convention" in subject.facts[0]
    with pytest.raises(QuestionError, match=r"224 pixels.*--size"):
        open_subject(bright_at_32_pixels, tmp_path, ModelOptions(size=224))


def test_predictions_that_lack_a_case_or_are_none_are_refused_by_name() -> None:
    pack = pack_of_shifts([0, 1])
    maps = maps_of(pack)
    subject = open_subject({"case00": maps["case00"]}, pack, ModelOptions())
    with pytest.raises(DataError, match="case01"):
        rows_to_audit(subject, "all", allow_training_patients=False)
    with pytest.raises(DataError, match="no predictions"):
        open_subject({}, pack, ModelOptions())
