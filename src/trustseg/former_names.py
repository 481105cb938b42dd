"""Names in files of earlier versions, and what they are called now."""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Final

__all__ = ["AGGREGATIONS", "current_aggregation"]

AGGREGATIONS: Final[Mapping[str, str]] = {"expected_dice_loss": "soft_dice_confidence"}
"""Aggregations: former name -> name."""

_log = logging.getLogger(__name__)


def current_aggregation(name: str) -> str:
    """Return what an aggregation is called now; a former name is noted in the log, once.

    Example:
        >>> current_aggregation("mean")
        'mean'
    """
    if name in AGGREGATIONS:
        _note(name)
    return AGGREGATIONS.get(name, name)


@cache
def _note(former: str) -> None:
    _log.warning("the aggregation %s is now called %s", former, AGGREGATIONS[former])
