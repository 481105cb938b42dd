"""Small studies, runs and records for the tests of reports, and what is read of them by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from tests.policies import policy_with
from tests.reporting.fake_results import write_study

from trustseg.deferral import save_policy
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.contents import Contents
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import Results, load_results
from trustseg.reporting.series import Chart, Line, Panel, Style
from trustseg.reporting.tables import Table
from trustseg.statistics import Interval

CLEAN = ("clean", 0.0)
PGD = ("pgd", 4 / 255)
EPS = 2 / 255  # of the attacks that every variant of the stressed study was measured under
EVIDENTIAL = "evidential, no adversarial training"


def one_run(folder: Path, **changed: Any) -> Path:  # noqa: ANN401 - of write_study
    """Write a study of a single evidential run on a few images."""
    usual: dict[str, Any] = {
        "heads": ("beta",),
        "selections": ("none",),
        "seeds": 1,
        "images": 4,
        "patients": 4,
        "gallery": False,
    }
    return write_study(folder, **(usual | changed))


def collected(folder: Path, draws: int = 5) -> ReportData:
    return collect(load_results(folder, draws=draws))


def with_records(data: ReportData, records: pl.DataFrame, **changed: Any) -> ReportData:  # noqa: ANN401 - of Results
    return replace(data, results=replace(data.results, records=records, **changed), scores={})


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high, count=9, patients=9)


def named(tables: tuple[Table, ...]) -> dict[str, Table]:
    return {table.key: table for table in tables}


def plain(data: ReportData, variant: str, condition: str, eps: float) -> pl.DataFrame:
    """Return records as they are."""
    return data.results.records.filter(
        pl.col("variant") == variant, pl.col("condition") == condition, (pl.col("eps") - eps).abs() < 1e-6
    ).sort("image", "seed")


def mean_dice(data: ReportData, variant: str, condition: str, eps: float = 0.0) -> float:
    frame = plain(data, variant, condition, eps)
    return float(frame.filter(pl.col("mask_px") > 0)["dice"].to_numpy().mean())


def row_of(stress: Contents, table: str, **wanted: str) -> dict[str, object]:
    (row,) = (row for row in stress.tables[table].rows if wanted.items() <= row.items())
    return dict(row)


def value_of(row: Any, key: str) -> float:  # noqa: ANN401 - of a table
    found = row[key]
    return float(found.value if isinstance(found, Interval) else found)


def odd_chart(*, horizontal: bool) -> Chart:
    """Return three panels in two columns of one point, no points, NaN, a dollar sign, an interval of width 0."""
    style = Style("#0072B2", "dash", "square")
    lines = (
        Line("cost in $ and $", [1.0], [0.5], style, [0.5], [0.5], mode="markers", texts=["one"]),
        Line("empty", [], [], style),
        Line("gap", [0.0, 1.0], [float("nan"), 0.5], style),
    )
    panel = Panel("a $ title", "x", "y", lines, y_ticks={0.5: "half"}, diagonal=True, zero=True)
    return Chart("odd", "Odd", "How to read it.", (panel, panel, panel), 2, horizontal=horizontal)


def deferring_run(folder: Path, variant: str = "a", *, threshold: float = 0.5) -> FinishedCell:
    """A run with a policy, and validation records whose u_entropy_mean are 0.1 to 1, u_variance_mean twice that."""
    cell = folder / variant
    cell.mkdir(parents=True)
    images = [f"v{k}" for k in range(10)]
    shared: dict[str, object] = {"image": images, "patient": images, "condition": "clean", "eps": 0.0, "dice": 0.9}
    scores = {"u_entropy_mean": [k / 10 for k in range(1, 11)], "u_variance_mean": [k / 5 for k in range(1, 11)]}
    pl.DataFrame({**shared, "mask_px": 5, "predicted_px": 5, **scores}).write_parquet(cell / "validation.parquet")
    policy = policy_with(measure="entropy", threshold=threshold, at_most=0.4, images=10, patients=10)
    save_policy(policy, cell / "policy.json")
    return FinishedCell(id=variant, variant=variant, head="beta", selection="none", fold=-1, seed=0, folder=cell)


def some_records(variant: str, condition: str, dice: list[float], u: list[float]) -> pl.DataFrame:
    """Ten images of ten patients, the last one without foreground but with a tenth of it predicted as foreground."""
    clean = condition == "clean"
    return pl.DataFrame(
        {
            "cell": variant,
            "variant": variant,
            "kind": "clean" if clean else "attack",
            "condition": condition,
            "eps": 0.0 if clean else 4 / 255,
            "image": [f"i{k}" for k in range(10)],
            "patient": [f"p{k}" for k in range(10)],
            "seed": 0,
            "pixels": 100,
            "mask_px": [5] * 9 + [0],
            "predicted_px": [5] * 9 + [0 if clean else 10],
            "dice": dice,
            "u_entropy_mean": u,
            "u_variance_mean": u,
        }
    )


def bare_results(rows: list[dict[str, object]]) -> Results:
    """Results with nothing but records: of one variant and patient, unless a row says otherwise."""
    usual = {"variant": "a", "condition": "clean", "eps": 0.0, "fold": 0, "seed": 0, "patient": "p", "pixels": 100}
    usual |= {"mask_px": 10, "predicted_px": 10, "intersection_px": 5, "dice": 0.5, "iou": 1 / 3, "u": 0.1}
    return Results(Path(), {}, (), (), pl.DataFrame([usual | row for row in rows]), draws=20)
