"""Charts in files."""

import io
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.reporting.odd import odd_chart

from trustseg.reporting.paper_figures import write_figure
from trustseg.reporting.series import Chart, Line, Look, Panel


def test_matplotlib_writes_pdf_png_and_data(charts: dict[str, Chart], tmp_path: Path) -> None:
    loaded = "matplotlib.pyplot" in sys.modules  # torchmetrics, which other tests import, loads it
    picture = write_figure(charts["robustness_dice"], tmp_path / "figures")
    files = {path.suffix: path for path in (tmp_path / "figures").iterdir()}
    assert set(files) == {".pdf", ".png", ".csv"}
    assert files[".pdf"].read_bytes().startswith(b"%PDF-")
    assert files[".png"].read_bytes() == picture
    assert picture.startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == loaded


@pytest.mark.parametrize("horizontal", [False, True])
def test_odd_series_are_written_as_they_are(tmp_path: Path, horizontal: bool) -> None:
    chart = odd_chart(horizontal=horizontal)
    picture = write_figure(chart, tmp_path)
    found = pl.read_csv(tmp_path / "odd.csv")
    assert found["series"].to_list() == ["cost in $ and $", "gap", "gap"] * 3
    assert found["x"].to_list() == [1, 0, 1] * 3
    assert found["low"].to_list() == [0.5, None, None] * 3
    assert Image.open(io.BytesIO(picture)).size[0] > 700


def coloured(picture: bytes, colour: tuple[int, int, int]) -> int:
    """Return the number of pixels of about this colour."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return int((np.abs(pixels - colour).max(axis=-1) < 40).sum())


def test_a_line_has_its_colour_and_stays_within_the_limits(tmp_path: Path) -> None:
    line = Line("n", [0.0, 1.0], [0.25, 0.75], Look("#ff0000", "solid", "circle"))
    seen, cut = (
        write_figure(Chart(f"n{k}", "t", "r", (Panel("", "x", "y", (line,), y_range=limits),), 1), tmp_path)
        for k, limits in enumerate(((0.0, 1.0), (2.0, 3.0)))
    )
    assert coloured(seen, (255, 0, 0)) > coloured(cut, (255, 0, 0)) > 0  # the legend is left
    assert coloured(seen, (0, 0, 255)) == 0


def test_the_same_chart_gives_the_same_files(tmp_path: Path) -> None:
    chart = odd_chart(horizontal=False)
    for name in ("one", "two"):
        write_figure(chart, tmp_path / name)
    for suffix in ("pdf", "png", "csv"):
        assert (tmp_path / "one" / f"odd.{suffix}").read_bytes() == (tmp_path / "two" / f"odd.{suffix}").read_bytes()
