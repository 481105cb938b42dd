"""Killed, repeated or changed: an evaluation ends with the tables of an undisturbed one."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from tests.evaluation.packs import pack_of, small_segmenter
from tests.evaluation.tables import CONDITIONS, CONFIG, ROWS, Tables, measured
from torch import Tensor

from trustseg.attacks import ATTACKS
from trustseg.evaluation import evaluate
from trustseg.evaluation.records import TABLES


def assert_same(found: Tables, expected: Tables) -> None:
    for table in TABLES:
        assert_frame_equal(found[table], expected[table], check_exact=True)


def files_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_finished_evaluation_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(tmp_path)
    before = files_in(tmp_path)
    assert before.keys() == {"evaluation.json", *(f"{table}.parquet" for table in TABLES)}
    (tmp_path / "parts").mkdir()  # left by a process that was killed while it tidied up
    monkeypatch.delattr(sys.modules[evaluate.__module__], "measure")
    done: list[tuple[int, int]] = []
    measured(tmp_path, report=lambda number, total: done.append((number, total)))
    assert files_in(tmp_path) == before
    assert done == [(len(CONDITIONS), len(CONDITIONS))]
    measured(tmp_path, config=CONFIG.model_copy(update={"gallery": 0}))  # does not touch the tables
    assert files_in(tmp_path) == before


def test_a_finished_evaluation_with_the_former_label_is_not_repeated(tmp_path: Path) -> None:
    def again(label: str) -> None:
        evaluate(small_segmenter(), pack_of(), ROWS, CONFIG, tmp_path, labels={label: "none"}, seed=3)

    again("regime")
    before = files_in(tmp_path)
    again("selection")
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("other", ["weights", "rows", "config", "labels", "lost table"])
def test_tables_of_another_evaluation_are_replaced(tmp_path: Path, tables: Tables, other: str) -> None:
    evaluate(
        small_segmenter(seed=other == "weights"),
        pack_of(),
        ROWS[:2] if other == "rows" else ROWS,
        CONFIG.model_copy(update={"batch_size": 2}) if other == "config" else CONFIG,
        tmp_path,
        labels={"cell": "x"} if other == "labels" else None,
        seed=3,
    )
    if other == "lost table":
        (tmp_path / "calibration.parquet").unlink()
    assert_same(measured(tmp_path), tables)


def test_tables_that_are_half_replaced_are_not_called_finished(
    tmp_path: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(tmp_path)
    written: list[Path] = []

    def killing(self: pl.DataFrame, path: Path) -> None:
        if path.parent == tmp_path:
            if written:
                raise Killed
            written.append(path)
        original(self, path)

    original = pl.DataFrame.write_parquet
    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", killing)
        with pytest.raises(Killed):
            measured(tmp_path, rows=ROWS[:2])
    assert_same(measured(tmp_path), tables)


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("after", [1, 3, len(CONDITIONS)])
def test_a_killed_evaluation_goes_on_and_ends_the_same(
    tmp_path: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    def kill(done: int, total: int) -> None:
        assert total == len(CONDITIONS)
        if done == after:
            raise Killed

    with pytest.raises(Killed):
        measured(tmp_path, report=kill)
    assert not (tmp_path / "records.parquet").exists()
    folder = next((tmp_path / "parts").iterdir())
    (folder / "fgsm_0p015686.records.parquet.4711.partial").write_text("what a killed writer leaves")

    seen: list[str] = []
    original = ATTACKS["fgsm"]

    def counted(*arguments: Tensor, **options: float) -> Tensor:
        seen.append("fgsm")
        return original(*arguments, **options)

    monkeypatch.setitem(ATTACKS, "fgsm", replace(original, function=counted))
    done: list[int] = []
    assert_same(measured(tmp_path, report=lambda number, total: done.append(number)), tables)
    assert done == list(range(1, len(CONDITIONS) + 1))
    assert bool(seen) == (after < 2)  # what was finished is not repeated
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("other", ["weights", "rows", "data", "head"])
def test_parts_of_another_evaluation_are_not_taken_over(tmp_path: Path, tables: Tables, other: str) -> None:
    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        measured(
            tmp_path,
            segmenter=small_segmenter("bernoulli" if other == "head" else "beta", seed=other == "weights"),
            rows=ROWS[::-1].copy() if other == "rows" else ROWS,
            pack=pack_of(seed=other == "data"),
            report=kill,
        )
    assert_same(measured(tmp_path), tables)


def test_batch_size_does_not_change_what_is_not_random(tmp_path: Path, tables: Tables) -> None:
    for size in (1, 2, 16):
        config = CONFIG.model_copy(update={"batch_size": size, "attacks": CONFIG.attacks[:1]})
        found = measured(tmp_path / str(size), config=config)
        expected = {name: table.filter(pl.col("condition").is_in(["clean", "fgsm"])) for name, table in tables.items()}
        assert_frame_equal(found["records"], expected["records"], rel_tol=1e-5, abs_tol=1e-5)
        for table, keys in (
            ("histograms", ["condition", "measure", "patient", "bin"]),
            ("calibration", ["condition", "region", "patient", "bin"]),
        ):
            both = found[table].join(expected[table], on=keys, how="full", coalesce=True).fill_null(0)
            counts, others = both["count"].to_numpy(), both["count_right"].to_numpy()
            assert np.abs(counts - others).sum() <= 0.002 * counts.sum()  # rounding moves pixels over the edges of bins


def test_the_global_random_state_and_the_weights_are_left_alone(tmp_path: Path) -> None:
    segmenter = small_segmenter()
    weights = segmenter.weights()
    before = torch.random.get_rng_state()
    measured(tmp_path, segmenter=segmenter)
    assert torch.equal(before, torch.random.get_rng_state())
    assert segmenter.weights() == weights
    assert all(parameter.grad is None and parameter.requires_grad for parameter in segmenter.parameters())
