"""What uncertainty costs: numbers by hand from what evaluations wrote, beside the scores of the first screen."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting.choices import pairs
from trustseg.reporting.costs import costs
from trustseg.reporting.hypotheses import answer_hypotheses
from trustseg.reporting.overview import basis, summary
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import load_results

TIMED = {"timed_batch_size": 16, "timed_on": "cpu", "timed_threads": 1}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two variants of two seeds, and an ensemble of the first."""
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none", "random"), images=12, patients=8)
    for number, cell in enumerate(sorted((folder / "cells").iterdir())):
        told = {"passes": 1, "seconds_per_image": 0.004 + 0.001 * number, **TIMED}
        (cell / "evaluation.json").write_text(json.dumps(told))
    combined = folder / "cells" / "mixture"
    shutil.copytree(folder / "cells" / "beta-none-fold0-seed0", combined)
    about = json.loads((combined / "cell.json").read_text())
    members = ["beta-none-fold0-seed0", "beta-none-fold0-seed1"]
    about |= {"id": "mixture", "variant": "evidential, no adversarial training, ensemble of 2"}
    about |= {"mixture": {"members": members, "samples": 0, "dropout": 0.2}}
    (combined / "cell.json").write_text(json.dumps(about))
    records = pl.read_parquet(combined / "records.parquet").with_columns(cell=pl.lit("mixture"))
    records.write_parquet(combined / "records.parquet")
    (combined / "evaluation.json").write_text(json.dumps({"passes": 2, "seconds_per_image": 0.009, **TIMED}))
    return folder


def test_costs_by_hand(study: Path) -> None:
    data = collect(load_results(study), draws=20)
    table = costs(data)
    frame = table.frame()
    assert frame["variant"].to_list() == [
        "evidential, no adversarial training",
        "evidential, random selection",
        "evidential, no adversarial training, ensemble of 2",
    ]
    assert frame["passes"].to_list() == [1, 1, 2]
    assert frame["models"].to_list() == [1, 1, 2]
    assert frame["seconds_training"].to_list() == [61.5, 61.5, 2 * 61.5]
    assert frame["milliseconds"].to_list() == pytest.approx([4.5, 6.5, 9.0])  # means over two seeds
    assert table.title.endswith("a prediction's is that of 3 batches on cpu, 1 threads, batches of 16.")
    same = summary(data).frame()
    for metric in ("dice", "nause", "aurc", "ece"):
        for end in ("", "_low", "_high"):
            assert frame[metric + end].to_list() == same[metric + end].to_list()


def test_times_of_two_machines_are_not_compared(study: Path) -> None:
    told = {"passes": 1, "seconds_per_image": 0.001, **TIMED, "timed_on": "an example GPU"}
    (study / "cells" / "beta-random-fold0-seed0" / "evaluation.json").write_text(json.dumps(told))
    title = costs(collect(load_results(study), draws=10)).title
    assert "on an example GPU, 1 threads, batches of 16 or cpu, 1 threads, batches of 16; times taken diff" in title


def test_evaluations_that_told_no_cost_are_left_out(study: Path) -> None:
    for cell in (study / "cells").glob("beta-*"):
        (cell / "evaluation.json").write_text(json.dumps({"fingerprint": "0"}))
    assert costs(collect(load_results(study), draws=10)).frame()["variant"].to_list() == [
        "evidential, no adversarial training, ensemble of 2"
    ]
    (study / "cells" / "mixture" / "evaluation.json").unlink()
    assert costs(collect(load_results(study), draws=10)).rows == ()


def test_a_mixture_is_a_variant_but_no_training(study: Path) -> None:
    results = load_results(study)
    assert results.is_mixture("evidential, no adversarial training, ensemble of 2")
    assert not results.is_mixture("evidential, no adversarial training")
    members = {"beta-none-fold0-seed0", "beta-none-fold0-seed1"}
    assert (
        results.trainings_of("evidential, no adversarial training, ensemble of 2")
        == results.trainings_of("evidential, no adversarial training")
        == members
    )
    assert [*pairs(results)] == [("evidential, random selection", "evidential, no adversarial training")]
    data = collect(results, draws=20)
    assert "trained models behind each variant: 2." in basis(data)
    compared = [outcome.compared for outcome in answer_hypotheses(data, draws=20)]
    assert compared
    assert not any("ensemble" in text for text in compared)
