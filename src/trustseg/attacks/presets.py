"""The members of the attack suites and their cost: published, so that numbers can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from trustseg.attacks.entries import ATTACKS
from trustseg.errors import unknown_name

__all__ = ["PRESETS", "Member", "Preset", "backward_passes", "members_of"]

Preset = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True, slots=True)
class Member:
    """One attack of a suite.

    Attributes:
        attack: a name in ``ATTACKS``. ``pgd`` starts at the image.
        objective: what it increases, a name in ``OBJECTIVES``.
        steps: its steps.
        evidential: whether it is for Beta beliefs alone.
        transferred: whether it attacks a surrogate in place of the model.
        plain: whether it sees log-odds as they are, however large, see ``strongest``.
    """

    attack: str
    objective: str
    steps: int
    evidential: bool = False
    transferred: bool = False
    plain: bool = False

    @property
    def name(self) -> str:
        """Return attack and objective in one word."""
        return f"{'transfer' if self.transferred else self.attack}_{self.objective}"

    @property
    def backward_passes(self) -> int:
        """Return the backward passes per image, through the model or the surrogate."""
        return int(ATTACKS[self.attack].facts.passes(steps=self.steps)[1])


SIMPLE: Final = (Member("fgsm", "cross_entropy", 1, plain=True), Member("pgd", "cross_entropy", 10, plain=True))
"""In every preset, so that no suite does less harm than an attack that is simpler and cheaper."""

GENERAL: Final = ("balanced_masked_cross_entropy", "margin", "soft_dice")
EVIDENTIAL: Final = ("digamma", "masked_margin", "evidence_margin")


def _full(steps: int) -> tuple[Member, ...]:
    """Return the white-box members of all presets but the quick one."""
    return (
        *SIMPLE,
        *(Member("staged", objective, steps) for objective in GENERAL),
        Member("apgd", "soft_dice", steps),
        Member("padam", "cospgd", steps),
        *(Member("staged", objective, steps, evidential=True, plain=True) for objective in EVIDENTIAL),
    )


PRESETS: Final[Mapping[str, tuple[Member, ...]]] = {
    "quick": (*SIMPLE, *(Member("staged", objective, 30) for objective in GENERAL)),
    "standard": _full(100),
    "thorough": (
        *_full(300),
        Member("staged", "soft_dice", 100, transferred=True, plain=True),
        Member("square", "soft_dice", 5000),
    ),
}


def members_of(preset: str, *, evidential: bool, surrogates: int = 0) -> tuple[Member, ...]:
    """Return the attacks of a preset in the order in which they run.

    Args:
        preset: a name in ``PRESETS``.
        evidential: whether the model's beliefs are Betas, which get further members.
        surrogates: number of surrogates; each is attacked once.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    return tuple(
        member
        for member in PRESETS[preset]
        if evidential or not member.evidential
        for _ in range(surrogates if member.transferred else 1)
    )


def backward_passes(preset: str, *, evidential: bool, surrogates: int = 0) -> int:
    """Return the largest number of backward passes per image, the published budget; arguments as ``members_of``."""
    return sum(m.backward_passes for m in members_of(preset, evidential=evidential, surrogates=surrogates))
