"""Figures of a review so far: time, overrides, agreement, failures found, and evidence of human oversight."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median, quantiles
from typing import Any, Final

import numpy as np

from trustseg.review.cases import CaseFolder
from trustseg.review.outcome import Pair, agreement, has_failed, tau_of
from trustseg.review.risk import RiskTable
from trustseg.review.state import DECISIONS, State
from trustseg.review.storage import Store
from trustseg.statistics import Interval

__all__ = [
    "ENOUGH",
    "Values",
    "finite",
    "interval_values",
    "likely_range",
    "override_note",
    "seconds_per_case",
    "summarise",
]

_FEW_OVERRIDES: Final = 0.05  # share below which a reader may have stopped looking

_FEWEST_PATIENTS: Final = 5  # of validation: chances measured on fewer give no range

ENOUGH: Final = 20
"""Decisions before overrides, failures against those expected, or human oversight are judged."""

Values = dict[str, Any]


def summarise(folder: CaseFolder, store: Store, *, risk: RiskTable | None = None) -> Values:
    """Return the figures of a review as JSON values, undefined as None; ``risk`` tells the failures to expect."""
    entries = store.entries()
    state = State()
    state.read(entries)
    names = sorted({entry.reviewer for entry in entries if entry.kind in ("rating", "decision", "adjudication")})
    readers = [_reader(folder, state, name) for name in names]
    stops = [
        {"time": entry.time, "reviewer": entry.reviewer, "kind": entry.kind, "reason": entry.content["reason"]}
        for entry in entries
        if entry.kind in ("stop", "resume")
    ]
    statuses = Counter(state.status(case.number) for case in folder.cases)
    kinds = Counter(entry.kind for entry in entries)
    return {
        "about": _about(folder, store, state),
        "progress": {status: statuses[status] for status in ("open", "in progress", "disagreement", "done")},
        "entries": dict(sorted(kinds.items())),
        "readers": readers,
        "agreement": [_pair_values(pair) for pair in agreement(folder, store, state)],
        "failures": _failures(folder, state, risk),
        "stops": stops,
        "notes": [
            note
            for reader in readers
            if (note := override_note(reader["name"], reader["edit"] + reader["reject"], reader["decided"])) is not None
        ],
        "article_14": _oversight(state, kinds, readers, stops),
    }


def seconds_per_case(state: State, numbers: Iterable[int], reader: str) -> list[float]:
    """Return how long a reader took for each case that was decided: rating and standing decision, in seconds."""
    found = []
    for number in numbers:
        own = state.own(number, reader)
        if own is not None:
            rating = state.ratings.get((number, reader))
            found.append(own.content["seconds"] + (0.0 if rating is None else rating.content["seconds"]))
    return found


def likely_range(chances: Sequence[float]) -> tuple[int, int]:
    """Return the ends of the 95 % range of the number of events, for independent events of these chances.

    Example:
        >>> likely_range([0.5] * 10)
        (2, 8)
    """
    weights = np.ones(1)
    for chance in chances:
        weights = np.convolve(weights, [1 - chance, chance])
    summed = weights.cumsum()
    return int(np.searchsorted(summed, 0.025)), int(np.searchsorted(summed, 0.975))


def _about(folder: CaseFolder, store: Store, state: State) -> Values:
    policy = folder.policy
    return {
        "cases": len(folder.cases),
        "flagged": None if policy is None else sum(case.flagged is True for case in folder.cases),
        "model": folder.model,
        "config": folder.config,
        "score": f"{folder.measure}, {folder.aggregation}",
        "policy": None if policy is None else policy.statement,
        "guarantee": folder.guarantee,
        "readers": state.settings.readers,
        "blind": state.settings.blind,
        "began": None if state.opened is None else state.opened.time,
        "head": str(store.head()),
    }


def _reader(folder: CaseFolder, state: State, name: str) -> Values:
    own = [(case, entry) for case in folder.cases if (entry := state.own(case.number, name)) is not None]
    seconds = seconds_per_case(state, (case.number for case in folder.cases), name)
    decisions = Counter(entry.content["decision"] for _, entry in own)
    rated = [(case, state.ratings.get((case.number, name))) for case in folder.cases]
    sure = [(case, rating.content["rating"]) for case, rating in rated if rating and rating.content["rating"] != 3]
    return {
        "name": name,
        "decided": len(own),
        **{decision: decisions[decision] for decision in DECISIONS},
        "overrides": (len(own) - decisions["accept"]) / len(own) if own else None,
        "settled": sum(entry.reviewer == name for entries in state.adjudications.values() for entry in entries[-1:]),
        "minutes": sum(seconds) / 60,
        "minutes_per_case": _quartiles(seconds),
        "rated_blind": sum(rating is not None for _, rating in rated),
        "rated_sure": len(sure),
        "rated_as_the_mask": sum((rating > 3) == (case.predicted_fraction > 0) for case, rating in sure),
    }


def _failures(folder: CaseFolder, state: State, risk: RiskTable | None) -> Values:
    """Return how many failed masks were found where, and how many the score had promised."""
    tau = tau_of(folder)
    judged = [
        (case, has_failed(final, tau=tau)) for case in folder.cases if (final := state.final(case.number)) is not None
    ]
    decided = [(case, failed) for case, failed in judged if failed is not None]
    flagged = [failed for case, failed in decided if case.flagged is not False]
    kept = [failed for case, failed in decided if case.flagged is False]
    figures: Values = {
        "tau": tau,
        "done": len(judged),
        "not_told": len(judged) - len(decided),
        "flagged": {"done": len(flagged), "failed": sum(flagged)},
        "kept": {"done": len(kept), "failed": sum(kept)},
        "expected": None,
    }
    if risk is not None and risk.groups and decided:
        chances = [
            1.0 if math.isnan(each) else float(each) for each in risk.chance([case.score for case, _ in decided])
        ]
        low, high = likely_range(chances) if risk.patients >= _FEWEST_PATIENTS else (None, None)
        figures["expected"] = {
            "cases": len(decided),
            "patients": risk.patients,
            "failed": sum(chances),
            "low": low,
            "high": high,
            "found": sum(flagged) + sum(kept),
        }
    return figures


def _oversight(
    state: State, kinds: Mapping[str, int], readers: Sequence[Values], stops: Sequence[Values]
) -> list[Values]:
    """Return evidence for Article 14 of the AI Act, as far as a review can give it: partly until there is enough."""
    decided = sum(reader["decided"] for reader in readers)
    overrides = sum(reader["edit"] + reader["reject"] for reader in readers)
    blind = sum(reader["rated_blind"] for reader in readers)
    enough = decided >= ENOUGH
    logged = [f"{name}s {kinds.get(name, 0)}" for name in ("decision", "withdrawal", "adjudication")]
    used, now = sum(each["kind"] == "stop" for each in stops), "off" if state.stopped is None else "on"
    items = [
        ("14(1)-(3)", "oversight built in", enough,
         f"standing decisions: {decided} (at least {ENOUGH} are asked for), people: {len(readers)}"),
        ("14(4)(b)", "automation bias", enough and blind >= ENOUGH,
         f"images rated before the mask was shown: {blind}; masks overridden: {overrides} of {decided}"),
        ("14(4)(d)", "override", enough, f"in the log: {', '.join(logged)}"),
        ("14(4)(e)", "stop", enough and bool(stops), f"uses of the stop switch: {used}; now {now}"),
    ]  # fmt: skip
    return [
        {"item": f"AI Act Art. {article}", "title": title, "state": "filled" if filled else "partly", "evidence": text}
        for article, title, filled, text in items
    ]


def override_note(name: str, overridden: int, decided: int) -> str | None:
    """Return what somebody should look into when a reader overrides hardly any mask; None if there is no reason to."""
    if decided < ENOUGH or overridden >= _FEW_OVERRIDES * decided:
        return None
    return (
        f"{name} overrode {overridden} of {decided} masks: has the reader stopped looking, or is the model this good?"
    )


def _pair_values(pair: Pair) -> Values:
    return {**pair._asdict(), "readers": list(pair.readers), "kappa": interval_values(pair.kappa)}


def _quartiles(seconds: Sequence[float]) -> Values | None:
    if not seconds:
        return None
    low, high = quantiles(seconds, n=4)[::2] if len(seconds) > 1 else (seconds[0], seconds[0])
    return {"median": median(seconds) / 60, "quarter": low / 60, "three_quarters": high / 60}


def interval_values(interval: Interval) -> dict[str, float | None]:
    """Return value and ends of an interval; None where they are undefined."""
    return {name: finite(getattr(interval, name)) for name in ("value", "low", "high")}


def finite(value: float | None) -> float | None:
    """Return a number, None if it is infinite or undefined."""
    return None if value is None or not math.isfinite(value) else float(value)
