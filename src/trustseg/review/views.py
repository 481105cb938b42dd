"""Views of a review for its page: plain values, and nothing that a reader may not see yet."""

import math
from dataclasses import asdict
from statistics import median
from typing import Final

from trustseg.review.actions import Review
from trustseg.review.cases import Case
from trustseg.review.chain import Entry
from trustseg.review.pictures import header_of
from trustseg.review.risk import RiskTable, Similar
from trustseg.review.state import Reader, State
from trustseg.review.summary import Values, finite, interval_values, override_note, seconds_per_case

__all__ = ["case_view", "entry_view", "list_view", "risk_view", "session_view"]

_FEW: Final = 5  # cases that a reader has to finish before a pace is told


def session_view(review: Review, reader: Reader, csrf: str, *, target: str | None = None) -> Values:
    """Return who is logged in and how the review is done; ``target`` is what the masks mark, if it is known."""
    state, policy = review.state(), review.folder.policy
    return {
        "name": reader.name,
        "role": reader.role,
        "csrf": csrf,
        "settings": asdict(state.settings),
        "cases": len(review.folder.cases),
        "target": target,
        "measure": review.folder.measure,
        "aggregation": review.folder.aggregation,
        "model": review.folder.model,
        "policy": None
        if policy is None
        else {
            "statement": policy.statement,
            "threshold": finite(policy.threshold),
            "tau": policy.tau,
            "guarantee": review.folder.guarantee,
            "promises_nothing": not policy.fitted,
        },
    }


def list_view(review: Review, reader: Reader, risk: RiskTable | None) -> Values:
    """Return the work list: a row for each case in the order of the table, whether all is stopped, and the pace."""
    state, policy = review.state(), review.folder.policy
    seconds = seconds_per_case(state, (case.number for case in review.folder.cases), reader.name)
    rows = [
        _row(review, state, case, reader, None if risk is None else risk.similar(case.score))
        for case in review.folder.cases
    ]
    own = [row["own"] for row in rows if row["own"] is not None]
    return {
        "rows": rows,
        "no_promise": policy.statement if policy is not None and not policy.fitted else None,
        "validation_images": None if risk is None else risk.images,
        "note": override_note("you", sum(each != "accept" for each in own), len(own)),
        "stopped": None if state.stopped is None else entry_view(state.stopped),
        "pace": {"cases": len(seconds), "seconds": median(seconds) if len(seconds) >= _FEW else None},
        "head": str(review.store.head()),
    }


def case_view(review: Review, case: Case, reader: Reader) -> Values:
    """Return one case as a reader may see it: without the mask's facts and others' decisions until it is time."""
    state = review.state()
    own, settles = state.own(case.number, reader.name), state.settles(case.number, reader)
    others = own is not None or settles
    rating = state.ratings.get((case.number, reader.name))
    return {
        **_row(review, state, case, reader, None),
        "width": case.width,
        "height": case.height,
        "rating": None if rating is None else rating.content["rating"],
        "sees_mask": state.sees_mask(case.number, reader),
        "decision": None if own is None else entry_view(own),
        "decisions": [entry_view(entry) for entry in state.standing(case.number) if others],
        "adjudications": [entry_view(entry) for entry in state.adjudications.get(case.number, []) if others],
        "header": header_of(case.file),
    }


def entry_view(entry: Entry) -> Values:
    """Return an entry of the log."""
    return {
        "number": entry.number,
        "time": entry.time,
        "reviewer": entry.reviewer,
        "kind": entry.kind,
        **{
            name: entry.content[name]
            for name in ("rating", "decision", "confidence", "comment", "reason", "seconds", "mask", "dice_with_model")
            if name in entry.content
        },
    }


def risk_view(table: RiskTable) -> Values:
    """Return the table of thresholds; NaN as None."""
    return {
        "tau": table.tau,
        "images": table.images,
        "patients": table.patients,
        "points": [
            {
                "threshold": point.threshold,
                "coverage": point.coverage,
                "risk": interval_values(point.risk),
                "failures": interval_values(point.failures),
            }
            for point in table.points
        ],
    }


def _row(review: Review, state: State, case: Case, reader: Reader, similar: Similar | None) -> Values:
    own, sees = state.own(case.number, reader.name), state.sees_mask(case.number, reader)
    return {
        "id": case.number,
        "name": case.image,
        "score": finite(case.score),
        "flagged": state.stopped is not None or case.flagged is not False,
        "reasons": _reasons(review, state, case, sees_mask=sees),
        "status": state.status(case.number),
        "own": None if own is None else own.content["decision"],
        "rated": (case.number, reader.name) in state.ratings,
        "settles": state.settles(case.number, reader),
        "area": case.predicted_fraction if sees else None,
        "chance": None if similar is None else similar.chance,
        "similar": None if similar is None else {**asdict(similar), "low": similar.ends[0], "high": similar.ends[1]},
    }


def _reasons(review: Review, state: State, case: Case, *, sees_mask: bool) -> list[str]:
    """Return why a case is to be looked at, or that it is not flagged."""
    policy, reasons = review.folder.policy, []
    if state.stopped is not None:
        reasons.append("stop switch: every case")
    if policy is None:
        reasons.append("no policy: every case")
    elif math.isnan(case.score):
        reasons.append("no score")
    elif case.flagged and math.isinf(policy.threshold):
        reasons.append("the policy reviews everything")
    elif case.flagged:
        reasons.append(f"score above {policy.threshold:.3g}")
    elif not reasons:
        reasons.append("not flagged" if policy.fitted else "not flagged: the policy promises nothing")
    if sees_mask and case.predicted_fraction == 0:
        reasons.append(f"nothing predicted, largest probability {case.largest_probability:.2f}")
    return reasons
