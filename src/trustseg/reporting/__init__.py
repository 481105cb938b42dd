"""Reports: tables, figures and one HTML page from what a study recorded; reads tables and never touches a model.

Throughout, ``results`` is what ``load_results`` read, ``data`` what ``collect`` computed from it, a *condition* the
pair of its name and budget (in pixel units of [0, 1], or an L2 norm; 0 where nothing attacks), and ``draws`` the
bootstrap draws over patients of every interval, >= 1. A file that cannot be read, or does not fit
the others, raises a ``DataError`` that names it.
"""

from trustseg.reporting.overview import print_summary
from trustseg.reporting.page import build_report
from trustseg.reporting.results import load_results

__all__ = ["build_report", "load_results", "print_summary"]
