"""An audit from end to end, of a threshold with a known Dice."""

import json
import re
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
import torch
from tests.audit.given import Relative, Threshold, maps_of, pack_of_shifts
from torch import Tensor, nn

import trustseg.audit
from trustseg.audit import Audit, Requirement, audit
from trustseg.audit.breaking import Break, ways_to_break
from trustseg.audit.document import Document, read_document
from trustseg.audit.plan import Plan
from trustseg.audit.repeats import APPROXIMATE, repeats_of
from trustseg.beliefs import Bernoulli
from trustseg.errors import ConfigError, DataError
from trustseg.evaluation import as_belief_model
from trustseg.statistics import Interval

ASKED = [
    Requirement(metric="dice", at_least=0.75),
    Requirement(metric="decision_change", at_most=0),
    Requirement(metric="dice", at_least=0.75, condition="brightness_down@5"),
]


def run(folder: Path, **options: Any) -> Audit:  # noqa: ANN401 - those of ``audit``
    settings: dict[str, Any] = {"budget": 0.01, "draws": 50, "folder": folder, "requirements": ASKED} | options
    return audit(Threshold(), pack_of_shifts([2] * 6, controls=2), **settings)


class Convolved(nn.Module):
    """Marks pixels above one half, by a convolution of one weight."""

    size, channels, name = 8, 1, "convolved"

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(1, 1, 1)
        nn.init.ones_(self.network.weight)
        nn.init.constant_(self.network.bias, -0.5)  # type: ignore[arg-type]  # it has one

    def forward(self, images: Tensor) -> Bernoulli:
        return Bernoulli(self.network(images))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return run(tmp_path_factory.mktemp("audit"))


def test_verdicts_and_document_hold_the_closed_form(found: Audit) -> None:
    document = read_document(found.folder / "audit.json")
    assert document == found.document
    assert document.metrics["dice"].value == 0.75
    assert (document.model.tier, document.data.with_foreground, document.data.without_foreground) == (2, 6, 2)
    assert [each.outcome for each in found.verdicts[:2]] == ["met", "met"]
    assert 5 in document.plan.severities
    assert {share for way, share in document.repeats.items() if way not in APPROXIMATE} == {0.0}


def test_the_page_asks_for_nothing_and_escapes_text(found: Audit) -> None:
    page = found.page.read_text()
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    sources = re.findall("(?:src|href)=[\"']([^\"']*)", page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert not re.findall("(?:https?:)?//[a-z]", re.sub("data:[^\"']*", "", page))
    assert "<script" not in page
    for kind, suffixes in (("tables", {".csv"}), ("figures", {".png", ".pdf", ".csv"})):
        assert {file.suffix for file in (found.folder / kind).iterdir()} == suffixes


@pytest.mark.usefixtures("undrawn")
def test_the_same_audit_measures_nothing_again(found: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(sys.modules["trustseg.evaluation.evaluate"], "measure", refuse)
    monkeypatch.setattr("trustseg.audit.measuring.pass_times", refuse)
    again = run(found.folder)
    assert again.document == found.document


@pytest.mark.usefixtures("undrawn")
def test_a_page_does_not_outlive_the_start_of_another_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("audit.html", "audit.json"):
        (tmp_path / name).write_text("of another model", encoding="utf-8")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trustseg.audit.measuring.measure_clean", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert not list(tmp_path.glob("audit.*"))


@pytest.mark.usefixtures("undrawn")
def test_predictions_of_the_model_give_its_numbers(found: Audit, tmp_path: Path) -> None:
    pack = pack_of_shifts([2] * 6, controls=2)
    alone = trustseg.audit(maps_of(pack), pack, ASKED[:1], folder=tmp_path, draws=50)  # type: ignore[operator]  # callable
    assert alone.document.model.tier == 0
    assert alone.passed
    for name, value in alone.document.metrics.items():
        assert value.value == pytest.approx(found.document.metrics[name].value, abs=1e-5)
    subgroups = pl.read_csv(tmp_path / "tables" / "subgroups.csv")
    assert "attack" not in subgroups.columns
    assert subgroups.filter(attribute="lesion_size")["group"].to_list() == ["none", "small"]
    with pytest.raises(ConfigError, match="batch, order and threads"):
        audit(maps_of(pack), pack, ASKED, folder=tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_function_of_images_is_audited_as_the_readme_does(found: Audit, tmp_path: Path) -> None:
    asked = ASKED[:1]
    audited = audit(
        lambda images: 100 * (images - 0.5),
        pack_of_shifts([2] * 6, controls=2),
        asked,
        folder=tmp_path,
        budget=0.01,
        draws=50,
    )
    assert audited.document.model.tier == 2
    assert audited.document.metrics["dice"] == found.document.metrics["dice"]


@pytest.mark.usefixtures("undrawn")
def test_without_masks_only_stability_is_judged(tmp_path: Path) -> None:
    pack = pack_of_shifts([0] * 3, masks=False)
    asked = [Requirement(metric="agreement", at_least=1.0, condition="rotation@1"), ASKED[1]]
    found = audit(Threshold(), pack, asked[1:], folder=tmp_path, budget=0.01, draws=50)
    assert found.passed
    assert set(found.document.metrics) == {"decision_change"}
    assert "no reference masks" in found.page.read_text()
    with pytest.raises(ConfigError, match="reference masks"):
        audit(Threshold(), pack, ASKED, folder=tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_masks_and_predictions_without_foreground_are_named_in_the_verdict_card(tmp_path: Path) -> None:
    pack = pack_of_shifts([0] * 4)
    empty = replace(
        pack,
        masks=np.zeros_like(pack.masks),
        index=pack.index.with_columns(foreground=pl.lit(0, pl.Int64)),
        digest="empty",
    )
    nothing = {name: np.zeros_like(values) for name, values in maps_of(pack).items()}
    asked = [Requirement(metric="false_alarm_rate", at_most=0.5)]
    card = re.compile('<section id="verdict".*?</section>', re.DOTALL)
    for maps, data, said in (
        (maps_of(pack), empty, ["None of the 4 reference masks has any foreground"]),
        (
            nothing,
            empty,
            ["None of the 4 reference masks has any foreground", "predicts no foreground in any of the 4"],
        ),
        (maps_of(pack), pack, []),
    ):
        known = asked if said else [Requirement(metric="dice", at_least=0.5)]
        found = audit(maps, data, known, folder=tmp_path / str(len(said)), draws=50)
        shown = card.search(found.page.read_text())
        assert len(found.document.remarks) == len(said)
        assert shown
        assert all(text in shown[0] for text in said)


@pytest.mark.usefixtures("undrawn")
def test_a_policy_that_can_send_nothing_says_why_and_another_threshold_is_offered(tmp_path: Path) -> None:
    """A third of the predictions are empty, so that their scores are all 1, and at most a fifth may be sent."""
    pack = pack_of_shifts([2] * 20)
    maps = {name: values * (1 - 0.02 * row) * (row % 3 > 0) for row, (name, values) in enumerate(maps_of(pack).items())}
    found = audit(maps, pack, [Requirement(metric="undetected_failures", at_most=0.1)], folder=tmp_path, draws=50)
    policy, *others = found.document.trust
    assert (policy.threshold, policy.scores["review_rate"].value) == (1.0, 0.0)
    assert "share the highest score" in found.verdicts[0].reason
    thresholds = [point.threshold for point in (policy, *others)]
    assert len(thresholds) == len(set(thresholds)) > 2
    offered = next(point.threshold for point in others if point.scores["review_rate"].value)
    assert f"is above <strong>{offered:.4g}</strong>" in found.page.read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_budget_counts_what_was_spent_before_the_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    budgets: list[float] = []

    def planned(*args: object, budget: float, **options: object) -> Plan:
        budgets.append(budget)
        return Plan(2)

    monkeypatch.setattr("trustseg.audit.run.make_plan", planned)
    for seconds in (1000.0, 0.001):
        audit(Threshold(), pack_of_shifts([2] * 2), ASKED[:1], folder=tmp_path / f"{seconds}", budget=seconds, draws=5)
    assert 0 < budgets[0] < 900
    assert budgets[1] == 0


def test_decisions_that_depend_on_the_batch_are_found() -> None:
    images = torch.stack([torch.full((1, 4, 4), 0.2), torch.full((1, 4, 4), 0.6)])
    found = repeats_of(as_belief_model(Relative()), images, ["dark", "bright"])
    assert found["the same again"] == {"dark": 0.0, "bright": 0.0}
    assert found["one image at a time"] == {"dark": 0.0, "bright": 1.0}


def test_half_precision_and_resampling_change_decisions_on_the_edge() -> None:
    """0.5 + 2^-10 rounds to 0.5 in bfloat16, and resampling leaves an even image as it is, one of single pixels not."""
    edge, even = torch.full((1, 8, 8), 0.5 + 2**-10), torch.full((1, 8, 8), 0.75)
    pixels = torch.zeros(1, 8, 8)
    pixels[:, ::2, ::2] = 0.6
    found = repeats_of(as_belief_model(Convolved()), torch.stack([edge, even, pixels]), ["edge", "even", "pixels"])
    half, resampled = (found[way] for way in APPROXIMATE)
    assert half == {"edge": 1.0, "even": 0.0, "pixels": 0.0}
    assert resampled["edge"] == resampled["even"] == 0.0
    assert resampled["pixels"] > 0.1


def test_at_most_two_ways_of_a_kind_come_first() -> None:
    def way(kind: Literal["shift", "attack"], level: float, fall: float = 0.2) -> Break:
        drop = Interval(fall, fall - 0.1, fall + 0.1, 5, 5)
        return Break((f"{kind}{level}", 0.0), kind, f"{kind}{level}", level, drop, 0.5, "case")

    breaks = [way("shift", 0.2), way("shift", 0.4), way("shift", 0.6), way("attack", 1.0)]
    assert [each.condition[0] for each in ways_to_break(breaks)] == ["shift0.2", "shift0.4", "attack1.0"]
    harmless = [way("attack", 0.1, 0.004), way("attack", 0.2, 0.0)]
    assert ways_to_break([*harmless, *breaks[:1]]) == breaks[:1]
    assert ways_to_break(harmless) == harmless[:1]


def test_the_shipped_schema_is_that_of_the_document() -> None:
    shipped = resources.files("trustseg.audit") / "audit.schema.json"
    assert json.loads(shipped.read_text()) == Document.model_json_schema()


def test_a_document_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    file.write_text('{"format": 0}')
    with pytest.raises(DataError, match=r"audit\.json"):
        read_document(file)
