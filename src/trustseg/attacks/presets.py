"""The members of the attack suites and their cost: published, so that numbers can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from trustseg.errors import unknown_name

__all__ = ["PRESETS", "Member", "Preset", "backward_passes", "members_of"]

Preset = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True, slots=True)
class Member:
    """One attack of a suite.

    Attributes:
        attack: its name; ``"transfer"`` is ``staged`` on a surrogate.
        objective: what it increases, a name in ``OBJECTIVES``.
        steps: its steps, which are backward passes except for ``square``. ``pgd`` starts at the image.
        evidential: whether it is for Beta beliefs alone.
    """

    attack: Literal["fgsm", "pgd", "staged", "apgd", "square", "transfer"]
    objective: str
    steps: int
    evidential: bool = False

    @property
    def name(self) -> str:
        """Return attack and objective in one word."""
        return f"{self.attack}_{self.objective}"

    @property
    def backward_passes(self) -> int:
        """Return the backward passes per image, through the model or the surrogate."""
        return 0 if self.attack == "square" else self.steps


SIMPLE: Final = (Member("fgsm", "cross_entropy", 1), Member("pgd", "cross_entropy", 10))
"""In every preset, so that no suite does less harm than an attack that is simpler and cheaper."""

GENERAL: Final = ("balanced_masked_cross_entropy", "margin", "soft_dice")
EVIDENTIAL: Final = ("digamma", "masked_margin", "evidence_margin")


def _full(steps: int) -> tuple[Member, ...]:
    """Return the white-box members of all presets but the quick one."""
    return (
        *SIMPLE,
        *(Member("staged", objective, steps) for objective in GENERAL),
        Member("apgd", "soft_dice", steps),
        *(Member("staged", objective, steps, evidential=True) for objective in EVIDENTIAL),
    )


PRESETS: Final[Mapping[str, tuple[Member, ...]]] = {
    "quick": (*SIMPLE, *(Member("staged", objective, 30) for objective in GENERAL)),
    "standard": _full(100),
    "thorough": (*_full(300), Member("transfer", "soft_dice", 100), Member("square", "soft_dice", 5000)),
}


def members_of(preset: str, *, evidential: bool, surrogates: int = 0) -> tuple[Member, ...]:
    """Return the attacks of a preset in the order in which they run.

    Args:
        preset: a name in ``PRESETS``.
        evidential: whether the model's beliefs are Betas, which get further members.
        surrogates: number of surrogates; ``"transfer"`` runs once for each.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    return tuple(
        member
        for member in PRESETS[preset]
        if evidential or not member.evidential
        for _ in range(surrogates if member.attack == "transfer" else 1)
    )


def backward_passes(preset: str, *, evidential: bool, surrogates: int = 0) -> int:
    """Return the largest number of backward passes per image, the published budget; arguments as ``members_of``."""
    return sum(m.backward_passes for m in members_of(preset, evidential=evidential, surrogates=surrogates))
