"""A review under way: what people may do, checked against what was done, and written into the log."""

import hashlib
import math
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from trustseg import __version__
from trustseg.errors import DataError
from trustseg.review.cases import CaseFolder
from trustseg.review.chain import Entry
from trustseg.review.pictures import overlap, png, read_mask_png
from trustseg.review.state import Decision, Reader, Settings, State
from trustseg.review.storage import Draft, Store
from trustseg.review.verify import fingerprints, require_whole

__all__ = ["ForbiddenError", "OutOfTurnError", "Review", "Verdict"]


class ForbiddenError(DataError):
    """Somebody may not do this."""


class OutOfTurnError(DataError):
    """This cannot be done now."""


class Verdict(NamedTuple):
    """What somebody decides on a case.

    Attributes:
        decision: accept, edit or reject the mask.
        confidence: 1 (a guess) to 5 (certain); None if not given.
        comment: free text.
        seconds: how long the case was looked at since the mask appeared, as the page measured it.
        layers: what was shown: mask, contour, uncertainty, the image under attack.
        mask: the mask that was drawn (PNG), only with ``edit``; None if none was.
    """

    decision: Decision
    confidence: int | None = None
    comment: str = ""
    seconds: float = 0.0
    layers: Sequence[str] = ()
    mask: bytes | None = None


class Review:
    """The review of a folder of predictions: its cases, its log, and how it is done, which is written into the log.

    A method raises an OutOfTurnError where something cannot be done now, a ForbiddenError where somebody may not do it,
    and writes nothing then.

    Raises:
        DataError: if the log is not whole, or is about other predictions.
    """

    def __init__(self, folder: CaseFolder, store: Store, settings: Settings) -> None:
        self.folder, self.store = folder, require_whole(store, folder)
        self._state = State()
        opened = {
            "digest": folder.digest,
            "cases": len(folder.cases),
            "model": folder.model,
            "config": folder.config,
            "files": fingerprints(folder.cases),
        }
        if self.state().opened is None:
            self.store.append(Draft(str(uuid.uuid4()), "server", "opened", None, opened), check=self._require_unopened)
        started = {**asdict(settings), "version": __version__}
        self.store.append(Draft(str(uuid.uuid4()), "server", "started", None, started))

    def state(self) -> State:
        """Return what follows from the log as it is now."""
        with self.store.reading():
            self._state.read(self.store.entries(after=self._state.last))
            return self._state

    def rate(self, number: int, reader: Reader, *, key: str, rating: int, seconds: float) -> Entry:
        """Keep how sure a reader of the image alone is that there is foreground, 1 (surely none) to 5 (surely some)."""
        case = self.folder.case(number)
        content = {"rating": rating, "seconds": seconds, "image_sha256": case.image_sha256}

        def check() -> None:
            if not self.state().settings.blind:
                raise OutOfTurnError("this review shows the mask at once; nothing is rated before")
            if (number, reader.name) in self.state().ratings:
                raise OutOfTurnError("you have rated this case; the first rating stands")
            self._require_turn(number, reader)

        return self.store.append(Draft(key, reader.name, "rating", number, content), check=check)

    def decide(self, number: int, reader: Reader, verdict: Verdict, *, key: str) -> Entry:
        """Keep a reader's decision on a case; a later one of the same reader replaces it, in what follows from the log.

        Raises:
            DataError: if the drawn mask is no PNG of the image's size, or is given without ``edit``.
        """
        content, mask = self._content(number, verdict)

        def check() -> dict[str, Any]:
            if not self.state().sees_mask(number, reader):
                raise OutOfTurnError("rate the image first; the mask appears then")
            self._require_turn(number, reader)
            others = [entry for entry in self.state().standing(number) if entry.reviewer != reader.name]
            return {"dice_with": self._overlaps(mask, others, number)}

        return self.store.append(Draft(key, reader.name, "decision", number, content, mask), check=check)

    def adjudicate(self, number: int, reader: Reader, verdict: Verdict, *, key: str) -> Entry:
        """Keep the decision of an adjudicator, who is none of the two, on a case on which two readers disagree."""
        content, mask = self._content(number, verdict)

        def check() -> dict[str, Any]:
            _require_adjudicator(reader)
            if self.state().own(number, reader.name) is not None:
                raise ForbiddenError("you are one of the two readers; somebody else has to settle this case")
            if self.state().status(number) != "disagreement" and not self.state().adjudications.get(number):
                raise OutOfTurnError("there is no disagreement on this case")
            return {"between": [entry.number for entry in self.state().standing(number)]}

        return self.store.append(Draft(key, reader.name, "adjudication", number, content, mask), check=check)

    def withdraw(self, number: int, reader: Reader, *, key: str) -> Entry:
        """Take back a reader's last decision on a case that was not adjudicated; the one before stands again."""
        self.folder.case(number)

        def check() -> None:
            if self.state().own(number, reader.name) is None:
                raise OutOfTurnError("you have no decision on this case to take back")
            if self.state().adjudications.get(number):
                raise OutOfTurnError("this case was adjudicated; nothing can be taken back")

        return self.store.append(Draft(key, reader.name, "withdrawal", number, {}), check=check)

    def switch(self, reader: Reader, *, key: str, stop: bool, reason: str) -> Entry:
        """Send every case to a human from now on, or let the policy apply again; anybody may stop."""

        def check() -> None:
            if not stop:
                _require_adjudicator(reader)
            if (self.state().stopped is not None) == stop:
                raise OutOfTurnError("every case goes to a human already" if stop else "the policy applies already")

        kind = "stop" if stop else "resume"
        return self.store.append(Draft(key, reader.name, kind, None, {"reason": reason}), check=check)

    def _require_turn(self, number: int, reader: Reader) -> None:
        state = self.state()
        if state.adjudications.get(number):
            raise OutOfTurnError("this case was adjudicated")
        others = {entry.reviewer for entry in state.standing(number)} - {reader.name}
        if len(others) >= state.settings.readers:
            raise OutOfTurnError("others have decided on this case")

    def _content(self, number: int, verdict: Verdict) -> tuple[dict[str, Any], bytes | None]:
        """Return what the log keeps of a verdict, and the drawn mask as 8-bit PNG of 0 and 255."""
        case, policy = self.folder.case(number), self.folder.policy
        if verdict.mask is not None and verdict.decision != "edit":
            raise DataError("a drawn mask belongs to the decision 'edit'")
        drawn = None if verdict.mask is None else read_mask_png(verdict.mask, case)
        given = read_mask_png(case.mask.read_bytes(), case)
        mask = None if drawn is None else png(drawn.astype(np.uint8) * 255)  # nothing else that came with it is kept
        return {
            "decision": verdict.decision,
            "confidence": verdict.confidence,
            "comment": verdict.comment,
            "seconds": verdict.seconds,
            "layers": sorted(set(verdict.layers)),
            "score": None if math.isnan(case.score) else case.score,
            "threshold": None if policy is None or math.isinf(policy.threshold) else policy.threshold,
            "model": self.folder.model,
            "config": self.folder.config,
            "image_sha256": case.image_sha256,
            "mask_sha256": case.mask_sha256,
            "mask": None if mask is None else hashlib.sha256(mask).hexdigest(),
            "dice_with_model": None if drawn is None else overlap(drawn, given),
        }, mask

    def _overlaps(self, mask: bytes | None, others: Sequence[Entry], number: int) -> dict[str, float | None]:
        """Return the Dice of a drawn mask with each that another reader has drawn, by the number of the entry."""
        if mask is None:
            return {}
        case = self.folder.case(number)
        masks = {str(entry.number): self.store.mask(entry.content.get("mask") or "") for entry in others}
        own = read_mask_png(mask, case)
        return {name: overlap(own, read_mask_png(other, case)) for name, other in masks.items() if other is not None}

    def _require_unopened(self) -> None:
        if self.state().opened is not None:
            raise DataError(f"another process has just begun the review in '{self.store.folder}'; start again")


def _require_adjudicator(reader: Reader) -> None:
    if reader.role == "reader":
        raise ForbiddenError("only an adjudicator may do this")
