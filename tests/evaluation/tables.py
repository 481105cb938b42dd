"""An evaluation of a small model on a small pack, and its tables."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tests.evaluation.packs import pack_of, small_segmenter

from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.data import Pack
from trustseg.evaluation import evaluate
from trustseg.evaluation.records import TABLES
from trustseg.models import Segmenter

EPS = 4 / 255
CONFIG = EvaluationConfig(
    attacks=(
        AttackConfig(name="fgsm", eps=(EPS,)),
        AttackConfig(name="pgd", eps=(0.0, EPS / 2, EPS), steps=2),
        AttackConfig(name="pgd", eps=(0.5,), steps=2, norm="l2"),
    ),
    measures=("entropy", "vacuity", "differential_entropy"),
    aggregations=("mean", "max", "foreground_mean"),
    batch_size=3,
)
CONDITIONS = [("clean", 0.0), ("fgsm", EPS), ("pgd2", EPS / 2), ("pgd2", EPS), ("pgd2_l2", 0.5)]
ROWS = np.array([0, 2, 4, 5, 6, 3], dtype=np.int64)

Tables = dict[str, pl.DataFrame]


def tables_in(folder: Path) -> Tables:
    return {table: pl.read_parquet(folder / f"{table}.parquet") for table in TABLES}


def measured(
    folder: Path,
    *,
    pack: Pack | None = None,
    segmenter: Segmenter | None = None,
    rows: NDArray[np.int64] = ROWS,
    config: EvaluationConfig = CONFIG,
    report: Callable[[int, int], None] | None = None,
) -> Tables:
    return tables_in(
        evaluate(segmenter or small_segmenter(), pack or pack_of(), rows, config, folder, report=report, seed=3)
    )
