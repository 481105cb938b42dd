"""Calibration by region: where a probability matters is at the border of a lesion and inside it."""

from typing import Final

from trustseg.reporting import pixel_scores
from trustseg.reporting.choices import describe_condition
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.tables import Column, Table, Value

__all__ = ["region_table"]

_REGIONS: Final = {"whole": "whole image", "boundary": "within 5 px of the border", "foreground": "reference mask"}


def region_table(evidence: ReportData, *, draws: int = 2000) -> Table:
    """Return the positive-class calibration error of each region, clean and attacked; no row for old tables.

    Args:
        evidence: the numbers of the study.
        draws: bootstrap draws over patients, >= 1.
    """
    places = evidence.choices.compared
    columns = [Column("variant", "Variant"), Column("condition", "Condition")]
    columns += [Column(region, f"ECE, {title} ↓") for region, title in _REGIONS.items()]
    rows: list[dict[str, Value]] = []
    for variant in evidence.results.variants:
        for place in places:
            row: dict[str, Value] = {"variant": variant, "condition": describe_condition(*place)}
            tables = {
                region: pixel_scores.pixel_calibration(evidence.results, variant, place, region=region)
                for region in _REGIONS
            }
            if tables["boundary"].patients:
                row |= {region: pixel_scores.estimate(table, draws=draws) for region, table in tables.items()}
                rows.append(row)
    title = "Expected calibration error by region of the image"
    return Table("calibration_regions", title, tuple(columns), tuple(rows))
