"""Printing the figures of a review."""

from collections.abc import Mapping
from typing import Any

from trustseg.cli.display import print_table, say
from trustseg.review.summary import ENOUGH

__all__ = ["print_summary"]


def print_summary(found: Mapping[str, Any]) -> None:
    """Print what ``trustseg.review.summary.summarise`` returns."""
    about, progress, failures = found["about"], found["progress"], found["failures"]
    flagged = "" if about["flagged"] is None else f", {about['flagged']} flagged"
    say(f"{about['cases']} cases{flagged}; " + ", ".join(f"{count} {status}" for status, count in progress.items()))
    if found["readers"]:
        header = (
            *("reader", "decided", "accept", "edit", "reject", "overrides", "settled"),
            *("minutes per case", "rated as the mask"),
        )
        print_table(header, [_reader(reader) for reader in found["readers"]], width=140)
    for pair in found["agreement"]:
        dice = "no two masks" if pair["dice"] is None else f"median Dice {pair['dice']:.3f} of {pair['masks']} masks"
        say(
            f"{' and '.join(pair['readers'])}: same decision on {_percent(pair['same'])} of {pair['cases']} cases, "
            f"kappa {_interval(pair['kappa'])}, {dice}"
        )
    for name, words in (("flagged", "flagged"), ("kept", "not flagged")):
        part = failures[name]
        say(
            f"failed masks (Dice below {failures['tau']:g}, by the readers): {part['failed']} of {part['done']} {words}"
        )
    if failures["not_told"]:
        say(f"edits without a drawn mask, which tell nothing about failure: {failures['not_told']}")
    if (expected := failures["expected"]) is not None:
        ends = "" if expected["low"] is None else f" (95 %: {expected['low']} to {expected['high']})"
        say(
            f"failed masks expected by the score: {expected['failed']:.1f}{ends}, found {expected['found']}: "
            f"{_judged(expected)}"
        )
    for stop in found["stops"]:
        say(f"{stop['kind']} by {stop['reviewer']} at {stop['time']}: {stop['reason'] or 'no reason given'}")
    for note in found["notes"]:
        say(f"note: {note}")
    for item in found["article_14"]:
        say(f"{item['item']} ({item['title']}): {item['state']}; {item['evidence']}")
    say("Technical evidence to support documentation. Not a conformity assessment. Research use.")
    say(f"head of the log: {about['head']}")


def _reader(reader: Mapping[str, Any]) -> list[str]:
    pace = reader["minutes_per_case"]
    return [
        reader["name"],
        *(str(reader[name]) for name in ("decided", "accept", "edit", "reject")),
        "undefined" if reader["overrides"] is None else _percent(reader["overrides"]),
        str(reader["settled"]),
        "undefined" if pace is None else f"{pace['median']:.2f} [{pace['quarter']:.2f}, {pace['three_quarters']:.2f}]",
        f"{reader['rated_as_the_mask']} of {reader['rated_sure']}",
    ]


def _judged(expected: Mapping[str, Any]) -> str:
    if expected["low"] is None:
        return f"measured on too few validation patients to tell ({expected['patients']})"
    if expected["cases"] < ENOUGH:
        return f"too few decisions to tell ({expected['cases']} of at least {ENOUGH})"
    inside = expected["low"] <= expected["found"] <= expected["high"]
    return "within what the score promised" if inside else "not what the score promised"


def _interval(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "undefined"
    ends = "no interval" if found["low"] is None else f"{found['low']:.2f}, {found['high']:.2f}"
    return f"{found['value']:.2f} [{ends}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
