"""The attacks by name, but for the suite of several and those on the uncertainty."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from trustseg.attacks.adam import padam
from trustseg.attacks.auto_pgd import apgd, staged
from trustseg.attacks.black_box import square
from trustseg.attacks.contract import AttackFacts, once, stepwise
from trustseg.attacks.iterated import bim, cospgd, mi_fgsm, pgd, segpgd
from trustseg.attacks.single_step import fgsm, r_fgsm, rs_fgsm
from trustseg.entries import Entry

__all__ = ["ATTACKS", "AttackEntry"]

AttackEntry = Entry[Tensor, AttackFacts]


def _of_square(*, steps: int, **_: object) -> tuple[float, float]:
    return steps + 1, 0


ATTACKS: Final[Mapping[str, AttackEntry]] = {
    "fgsm": Entry(fgsm, "FGSM", AttackFacts(once, single_step=True, starts_at_image=True)),
    "r_fgsm": Entry(r_fgsm, "R+FGSM", AttackFacts(once, single_step=True, random=True)),
    "rs_fgsm": Entry(rs_fgsm, "RS-FGSM", AttackFacts(once, single_step=True, random=True)),
    "bim": Entry(bim, "BIM", AttackFacts(stepwise, starts_at_image=True)),
    "mi_fgsm": Entry(mi_fgsm, "MI-FGSM", AttackFacts(stepwise, starts_at_image=True)),
    "pgd": Entry(pgd, "PGD", AttackFacts(stepwise)),
    "segpgd": Entry(segpgd, "SegPGD", AttackFacts(stepwise, weighs_cross_entropy=True)),
    "cospgd": Entry(cospgd, "CosPGD", AttackFacts(stepwise, weighs_cross_entropy=True)),
    "padam": Entry(padam, "PAdam", AttackFacts(stepwise, starts_at_image=True)),
    "apgd": Entry(apgd, "Auto-PGD", AttackFacts(stepwise)),
    "staged": Entry(staged, "staged", AttackFacts(stepwise, starts_at_image=True)),
    "square": Entry(square, "Square", AttackFacts(_of_square, random=True)),
}
