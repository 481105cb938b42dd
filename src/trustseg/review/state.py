"""The state of a review, derived from its log: decisions, finished cases, and the stop switch.

Kinds of entries:

* ``opened``: the review began: which predictions, images and masks it is about;
* ``started``: the server was started: with which settings;
* ``rating``: a reader saw the image alone and said how sure it is that there is foreground, 1 to 5;
* ``decision``: a reader saw the mask and accepted it, asked for an edit or drew one, or rejected it;
* ``withdrawal``: a reader took back the own last decision on a case;
* ``adjudication``: an adjudicator settled a case on which two readers disagree;
* ``stop``, ``resume``: every case goes to a human from now on, whatever the policy says; the policy applies again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from trustseg.review.chain import Entry

__all__ = ["DECISIONS", "Decision", "Reader", "Role", "Settings", "State", "Status"]

Decision = Literal["accept", "edit", "reject"]
Role = Literal["reader", "adjudicator", "admin"]
Status = Literal["open", "in progress", "disagreement", "done"]

DECISIONS: Final[tuple[Decision, ...]] = ("accept", "edit", "reject")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who does something: a name and a role."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Settings:
    """How a review is done.

    Attributes:
        readers: how many people decide on each case, 1 or 2.
        blind: whether a reader rates the image before the mask appears.
        agree_dice: two drawn masks agree from this Dice on, in [0, 1].
    """

    readers: int = 1
    blind: bool = True
    agree_dice: float = 0.8


@dataclass(slots=True)
class State:
    """The log, read entry by entry.

    Attributes:
        settings: of the last start.
        last: number of the last entry that was read.
        opened: what the review is about.
        ratings: by case and reader, the first rating, which cannot be changed.
        decisions: by case and reader, those that stand, the last one last.
        adjudications: by case, the last one last.
        stopped: the entry that stopped the policy, None if it applies.
    """

    settings: Settings = field(default_factory=Settings)
    last: int = 0
    opened: Entry | None = None
    ratings: dict[tuple[int, str], Entry] = field(default_factory=dict)
    decisions: dict[int, dict[str, list[Entry]]] = field(default_factory=lambda: defaultdict(dict))
    adjudications: dict[int, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    stopped: Entry | None = None

    def read(self, entries: Iterable[Entry]) -> None:
        """Take in entries that follow those read before."""
        for entry in entries:
            self.last = entry.number
            case, content = entry.case or 0, entry.content
            match entry.kind:
                case "opened":
                    self.opened = entry
                case "started":
                    self.settings = Settings(**{name: content[name] for name in ("readers", "blind", "agree_dice")})
                case "rating":
                    self.ratings.setdefault((case, entry.reviewer), entry)
                case "decision":
                    self.decisions[case].setdefault(entry.reviewer, []).append(entry)
                case "withdrawal":
                    self.decisions[case][entry.reviewer].pop()
                case "adjudication":
                    self.adjudications[case].append(entry)
                case "stop":
                    self.stopped = entry
                case "resume":
                    self.stopped = None

    def standing(self, case: int) -> list[Entry]:
        """Return the decision of each reader of a case that stands, the earliest first."""
        decided = (entries[-1] for entries in self.decisions.get(case, {}).values() if entries)
        return sorted(decided, key=lambda entry: entry.number)

    def own(self, case: int, reader: str) -> Entry | None:
        """Return a reader's decision on a case that stands."""
        return next((entry for entry in self.standing(case) if entry.reviewer == reader), None)

    def final(self, case: int) -> Entry | None:
        """Return what settled a case: the adjudication, or else the last decision that was needed; None before."""
        if settled := self.adjudications.get(case):
            return settled[-1]
        standing = self.standing(case)
        if len(standing) < self.settings.readers or self.disagree(standing):
            return None
        drawn = [entry for entry in standing if entry.content.get("mask")]
        return (drawn or standing)[0]

    def status(self, case: int) -> Status:
        """Return how far a case is."""
        if self.final(case) is not None:
            return "done"
        standing = self.standing(case)
        if not standing:
            return "open"
        return "disagreement" if len(standing) >= self.settings.readers else "in progress"

    def sees_mask(self, case: int, reader: Reader) -> bool:
        """Return whether a reader may see what the model made of a case."""
        return not self.settings.blind or (case, reader.name) in self.ratings or self.settles(case, reader)

    def settles(self, case: int, reader: Reader) -> bool:
        """Return whether somebody may adjudicate a case: not one of its readers, when they disagree."""
        if reader.role == "reader" or self.own(case, reader.name) is not None:
            return False
        return bool(self.adjudications.get(case)) or self.status(case) == "disagreement"

    def disagree(self, standing: Sequence[Entry]) -> bool:
        """Return whether decisions on one case need an adjudicator: they differ, or their drawn masks do."""
        numbers = {str(entry.number) for entry in standing}
        return len({entry.content["decision"] for entry in standing}) > 1 or any(
            number in numbers and value is not None and value < self.settings.agree_dice  # None: both drew nothing
            for entry in standing
            for number, value in entry.content.get("dice_with", {}).items()
        )
