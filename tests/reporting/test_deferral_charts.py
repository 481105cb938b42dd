"""Deferral in figures: the table in lines, the policy on its curve."""

import numpy as np
import pytest

from trustseg.reporting.deferral import Deferrals
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart


@pytest.fixture(scope="module")
def drawn(deferring: ReportData, deferrals: Deferrals) -> dict[str, Chart]:
    return {chart.key: chart for chart in deferral_charts(deferring, deferrals)}


def test_the_figure_is_the_table(deferring: ReportData, deferrals: Deferrals, drawn: dict[str, Chart]) -> None:
    chart = drawn["deferral"]
    assert len(chart.panels) == 3 * chart.columns
    reviews = [panel for panel in chart.panels if panel.y_label == "share sent to a human"]
    for panel in reviews:
        *lines, target = panel.lines
        assert target.y == [0.2, 0.2]
        assert [line.name for line in lines] == list(deferrals.policies)
        for line in lines:
            assert line.x[0] == 0
            assert line.y[0] == deferrals.score(line.name, ("clean", 0.0), "review_rate").value


def test_the_marker_lies_on_its_curve(drawn: dict[str, Chart]) -> None:
    for chart in (drawn["deferral_attacks"], drawn["deferral_shifts"]):
        for panel in chart.panels:
            curves = {line.name: line for line in panel.lines if "policy" not in line.name}
            for line in panel.lines:
                if "policy" in line.name:
                    curve = curves[line.entry]
                    # both are the mean error of the same kept images, where no scores are tied
                    place = int(np.abs(np.subtract(curve.x, line.x[0])).argmin())
                    assert line.y[0] == pytest.approx(curve.y[place], abs=0.02)
