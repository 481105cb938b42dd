"""Reports: tables, figures and one HTML page from what a study recorded; reads tables and never touches a model."""

from trustseg.reporting.page import build_report
from trustseg.reporting.results import load_results
from trustseg.reporting.summary import print_summary, summary_table

__all__ = ["build_report", "load_results", "print_summary", "summary_table"]
