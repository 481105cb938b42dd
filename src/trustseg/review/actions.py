"""A review under way: what people may do, checked against what was done, and written into the log."""

import hashlib
import math
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from trustseg import __version__
from trustseg.errors import DataError
from trustseg.review.cases import CaseFolder
from trustseg.review.chain import Entry
from trustseg.review.changes import fingerprints
from trustseg.review.pictures import drawn_png, overlap, read_mask_png
from trustseg.review.state import Decision, Reader, Role, Settings, State
from trustseg.review.storage import Draft, Store
from trustseg.review.verify import require_whole

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
    """The review of a folder of predictions.

    Args:
        folder: its cases.
        store: its log.
        settings: how it is done; written into the log.

    Raises:
        DataError: if the log is not whole, or is about other predictions.
    """

    def __init__(self, folder: CaseFolder, store: Store, settings: Settings) -> None:
        self.folder, self.store = folder, require_whole(store, folder)
        self._state = State()
        about = {
            "digest": folder.digest,
            "cases": len(folder.cases),
            "model": folder.model,
            "config": folder.config,
            "files": fingerprints(folder.cases),
        }
        if self.state().opened is None:
            self.store.append(Draft(_key(), "server", "opened", None, about), check=self._require_unopened)
        started = {**asdict(settings), "version": __version__}
        self.store.append(Draft(_key(), "server", "started", None, started))

    def state(self) -> State:
        """Return what follows from the log as it is now."""
        with self.store.reading():
            self._state.read(self.store.entries(after=self._state.last))
            return self._state

    def rate(self, number: int, reader: Reader, *, key: str, rating: int, seconds: float) -> Entry:
        """Keep how sure a reader of the image alone is that there is foreground, 1 (surely none) to 5 (surely some).

        Raises:
            OutOfTurnError: if the reader has seen the mask already, or nobody has to rate.
        """
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
            OutOfTurnError: if the reader has not rated the image yet, or others have decided on this case.
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
        """Keep the decision of an adjudicator on a case on which two readers disagree.

        Raises:
            ForbiddenError: if the role does not allow it, or the adjudicator is one of the two.
            OutOfTurnError: if there is no disagreement.
        """
        content, mask = self._content(number, verdict)

        def check() -> dict[str, Any]:
            self.require_role(reader, "adjudicator")
            if self.state().own(number, reader.name) is not None:
                raise ForbiddenError("you are one of the two readers; somebody else has to settle this case")
            if self.state().status(number) != "disagreement" and not self.state().adjudications.get(number):
                raise OutOfTurnError("there is no disagreement on this case")
            return {"between": [entry.number for entry in self.state().standing(number)]}

        return self.store.append(Draft(key, reader.name, "adjudication", number, content, mask), check=check)

    def withdraw(self, number: int, reader: Reader, *, key: str) -> Entry:
        """Take back a reader's last decision on a case; the one before stands again.

        Raises:
            OutOfTurnError: if there is none, or the case was adjudicated.
        """
        self.folder.case(number)

        def check() -> None:
            if self.state().own(number, reader.name) is None:
                raise OutOfTurnError("you have no decision on this case to take back")
            if self.state().adjudications.get(number):
                raise OutOfTurnError("this case was adjudicated; nothing can be taken back")

        return self.store.append(Draft(key, reader.name, "withdrawal", number, {}), check=check)

    def switch(self, reader: Reader, *, key: str, stop: bool, reason: str) -> Entry:
        """Send every case to a human from now on, or let the policy apply again; anybody may stop.

        Raises:
            ForbiddenError: if a reader wants to end a stop.
            OutOfTurnError: if it is so already.
        """

        def check() -> None:
            if not stop:
                self.require_role(reader, "adjudicator")
            if (self.state().stopped is not None) == stop:
                raise OutOfTurnError("every case goes to a human already" if stop else "the policy applies already")

        return self.store.append(
            Draft(key, reader.name, "stop" if stop else "resume", None, {"reason": reason}), check=check
        )

    def require_role(self, reader: Reader, role: Role) -> None:
        """Raise a ForbiddenError unless a reader has a role, or is an admin."""
        if reader.role not in (role, "admin"):
            raise ForbiddenError(f"only an {role} may do this")

    def _require_turn(self, number: int, reader: Reader) -> None:
        state = self.state()
        if state.adjudications.get(number):
            raise OutOfTurnError("this case was adjudicated")
        others = {entry.reviewer for entry in state.standing(number)} - {reader.name}
        if len(others) >= state.settings.readers:
            raise OutOfTurnError("others have decided on this case")

    def _content(self, number: int, verdict: Verdict) -> tuple[dict[str, Any], bytes | None]:
        """Return what the log keeps of a verdict, and the drawn mask in our own encoding."""
        case, policy = self.folder.case(number), self.folder.policy
        if verdict.mask is not None and verdict.decision != "edit":
            raise DataError("a drawn mask belongs to the decision 'edit'")
        mask = None if verdict.mask is None else drawn_png(verdict.mask, case)
        given = read_mask_png(case.mask.read_bytes(), case)
        changed = None if mask is None else overlap(read_mask_png(mask, case), given)
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
            "dice_with_model": changed,
        }, mask

    def _overlaps(self, mask: bytes | None, others: Sequence[Entry], number: int) -> dict[str, float | None]:
        """Return the Dice of a drawn mask with each that another reader has drawn, by the number of the entry."""
        case, found = self.folder.case(number), {}
        for entry in others:
            other = None if entry.content.get("mask") is None else self.store.mask(entry.content["mask"])
            if mask is not None and other is not None:
                found[str(entry.number)] = overlap(read_mask_png(mask, case), read_mask_png(other, case))
        return found

    def _require_unopened(self) -> None:
        if self.state().opened is not None:
            raise DataError(f"another process has just begun the review in '{self.store.folder}'; start again")


def _key() -> str:
    return str(uuid.uuid4())
