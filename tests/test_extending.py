"""Adding one thing is one function and one entry: it is then known to configurations, listed, run and recorded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.attacks import test_contract as attack_contract
from tests.evaluation.packs import pack_of, small_segmenter
from tests.losses import test_contract as loss_contract
from tests.reporting.fake_results import write_study
from tests.training import tiny
from trustseg.attacks import ATTACKS, AttackFacts, Model, Objective, fgsm
from trustseg.attacks.contract import Count, stepwise
from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.config import describe_keys, describe_options, load_run
from trustseg.data import LAYOUTS, find_cases
from trustseg.data.cases import Case, Declared, Listing
from trustseg.entries import Entry
from trustseg.evaluation import evaluate
from trustseg.losses import LOSSES, LossFacts
from trustseg.metrics import METRICS, MetricFacts
from trustseg.models import ARCHITECTURES
from trustseg.models.architectures import ArchitectureFacts
from trustseg.records import read_records
from trustseg.reporting.contents import build_contents
from trustseg.reporting.overview import headlines
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import load_results
from trustseg.selection import SELECTIONS, SelectionFacts
from trustseg.shifts import SHIFTS, ShiftFacts
from trustseg.study.plan import passes_of_attack
from trustseg.training import train
from trustseg.uncertainty import AGGREGATIONS, MEASURES, AggregationFacts, MeasureFacts

Floats = NDArray[np.float64]


def twice(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    steps: Count = 1,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """FGSM, as an attack of its own."""
    return fgsm(model, images, masks, eps=eps, objective=objective, generator=generator, keep_best=keep_best)


def squared_overlap(belief: Belief, masks: Tensor, *, power: float = 2.0) -> Tensor:
    """Mean power of the error."""
    return torch.nan_to_num((belief.probability - masks).abs() ** power, nan=0.0).flatten(1).mean(dim=1)


def doubt(belief: Belief) -> Tensor:
    """Distance of p from certainty."""
    return torch.minimum(belief.probability, 1 - belief.probability)


def middle(uncertainty: Tensor, probability: Tensor, *, share: float = 0.5) -> Tensor:
    """Quantile of the map."""
    return uncertainty.flatten(1).quantile(share, dim=1)


def first(scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """The first k images."""
    return torch.arange(k, device=scores.device)


def fog(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Grey over everything."""
    return images + severity / 10 * (0.5 - images)


def lone(path: Path, declared: Declared | None = None) -> Listing:
    """Every ``.lone`` file is an image."""
    files = path.rglob("*.lone") if path.is_dir() else ()
    return Listing(tuple(Case(file.stem, file, (), None, "unlabelled") for file in files), root=path, layout="lone")


def wrong_pixels(prediction: Tensor, masks: Tensor, *, power: float = 1.0) -> Tensor:
    """Share of wrong pixels."""
    return torch.where(prediction, 1 - masks, masks).flatten(1).mean(dim=1) ** power  # masks are numbers


def last_block(counts: Floats, errors: Floats) -> Floats:
    """Mean error of the least sure block."""
    return errors[..., -1] / np.maximum(counts[..., -1], 1)


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ATTACKS, "twice", Entry(twice, "Twice", AttackFacts(stepwise, starts_at_image=True)))
    monkeypatch.setitem(LOSSES, "squared_overlap", Entry(squared_overlap, "Squared", LossFacts("region")))
    monkeypatch.setitem(MEASURES, "doubt", Entry(doubt, "Doubt", MeasureFacts(0.5, (Bernoulli, Beta, Mixture))))
    monkeypatch.setitem(AGGREGATIONS, "middle", Entry(middle, "Middle", AggregationFacts()))
    monkeypatch.setitem(SELECTIONS, "first", Entry(first, "First", SelectionFacts("none")))
    monkeypatch.setitem(SHIFTS, "fog", Entry(fog, "Fog", ShiftFacts()))
    monkeypatch.setitem(METRICS, "wrong_pixels", Entry(wrong_pixels, "Wrong", MetricFacts("lower")))
    of_images = MetricFacts("lower", kind="image_ranking", shown="compared")
    monkeypatch.setitem(METRICS, "last_image", Entry(last_block, "LAST", of_images))
    monkeypatch.setitem(METRICS, "last_pixel", Entry(last_block, "LAST", replace(of_images, kind="pixel_ranking")))
    monkeypatch.setitem(ARCHITECTURES, "tiny", Entry(tiny.network, "Tiny", ArchitectureFacts()))
    monkeypatch.setitem(LAYOUTS, "lone", Entry(lone, "Lone", None))


SETTINGS = (
    "adversarial.attack={name: twice, steps: 2}",
    "adversarial.selection=first",
    "adversarial.measure.beta=doubt",
    "adversarial.aggregation={name: middle, share: 0.25}",
    "loss.region={name: squared_overlap, power: 3}",
    "model.architecture=tiny",
    "evaluation.attacks=[{name: twice, eps: [4/255], steps: 2}]",
    "evaluation.measures=[entropy, doubt]",
    "evaluation.aggregations=[mean, {name: middle, share: 0.25}]",
    "evaluation.metrics=[{name: wrong_pixels, power: 2}]",
    "evaluation.shifts=[fog]",
)


def test_each_is_listed() -> None:
    allowed = {key: words.removeprefix("list, each: ").split(" | ") for key, _, words, _ in describe_keys()}
    for key, name in {
        "adversarial.attack": "twice",
        "evaluation.attacks.name": "twice",
        "loss.region": "squared_overlap",
        "evaluation.measures": "doubt",
        "evaluation.aggregations": "middle",
        "adversarial.selection": "first",
        "evaluation.metrics": "wrong_pixels",
        "evaluation.shifts": "fog",
        "model.architecture": "tiny",
    }.items():
        assert name in allowed[key], key
    options = {option for option, *_ in describe_options()}
    assert options >= {"attack twice: steps", "loss squared_overlap: power", "aggregation middle: share"}


def test_each_is_trained_measured_and_recorded(tmp_path: Path) -> None:
    settings = (*SETTINGS, "training.epochs=1", "adversarial.warmup_epochs=0", "evaluation.gallery=0")
    run = tiny.config(*settings)
    train(run, tiny.pack(), tmp_path / "run")
    rows = np.array([0, 2, 4], dtype=np.int64)
    folder = evaluate(small_segmenter("beta"), pack_of(), rows, run.evaluation, tmp_path / "measured", seed=0)
    records = read_records(folder / "records.parquet")
    assert {"clean", "twice2", "fog_1", "fog_5"} <= set(records["condition"])
    assert records["u_doubt_middle_share0p25"].null_count() == 0
    assert records["metric_wrong_pixels_power2"].is_between(0, 1).all()
    assert passes_of_attack("twice", steps=5) == 5


def test_a_ranking_metric_is_reported_tested_and_judged(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", selections=("none", "random"), heads=("beta",), images=16, patients=12)
    claim = {"name": "Q", "claim": "Both.", "condition": "clean", "direction": "lower", "margin": 0.01}
    claim |= {"first": {"adversarial.selection": "random"}, "second": {"adversarial.selection": "none"}}
    claims = {"hypotheses": [claim | {"measures": ["last_image", "last_pixel"]}]}
    (folder / "hypotheses.yaml").write_text(yaml.safe_dump(claims))
    data = collect(load_results(folder, draws=5))
    contents, pixel, image = build_contents(data), "pixel LAST", "image LAST"
    both = dict.fromkeys(("summary", "ranking", "measures"), (pixel, image))
    for table, labels in {**both, "aggregations": (image,), "trade_off": (pixel,)}.items():
        headings = [column.heading for column in contents.tables[table].columns if "LAST" in column.heading]
        assert all(any(heading.startswith(label) for heading in headings) for label in labels), table
        assert all(heading.endswith("↓") for heading in headings)
    assert {row["metric"] for row in contents.tables["differences"].rows} >= {pixel, image}
    assert [outcome.score for outcome in contents.outcomes] == [f"{image}, clean", f"{pixel}, clean"]
    assert all(outcome.comparison for outcome in contents.outcomes)
    assert f"{pixel}, clean (less is better)" in [panel.x_label for panel in contents.charts["trade_off"].panels]
    assert any(f"{pixel}, PGD 4/255" in sentence for _, sentences in headlines(data) for sentence in sentences)


def test_a_layout_finds_its_cases(tmp_path: Path) -> None:
    (tmp_path / "a.lone").write_bytes(b"")
    assert [case.name for case in find_cases(tmp_path).cases] == ["a"]


def test_the_contracts_take_them_in() -> None:
    attack_contract.test_does_harm_and_never_helps_the_defender(ATTACKS["twice"], "beta")
    attack_contract.test_leaves_everything_as_found(ATTACKS["twice"], "beta")
    attack_contract.test_same_seed_same_bits_whatever_the_global_state(ATTACKS["twice"])
    loss_contract.test_moving_belief_to_the_mask_lowers_it("squared_overlap")
    loss_contract.test_gradcheck("squared_overlap")


def test_their_options_are_checked() -> None:
    for setting in SETTINGS[:1]:
        with pytest.raises(ValueError, match="did you mean 'steps'"):
            load_run(None, [setting.replace("steps", "stepz")])
    assert isinstance(tiny.network("none", channels=1, outputs=2), nn.Module)
