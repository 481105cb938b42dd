"""What an attack suite is made of and what it costs are those published."""

import pytest

from trustseg.attacks import OBJECTIVES, PRESETS, backward_passes, members_of
from trustseg.errors import UnknownNameError


def names(preset: str, *, evidential: bool, surrogates: int = 0) -> list[str]:
    return [member.name for member in members_of(preset, evidential=evidential, surrogates=surrogates)]


def test_members_and_budgets_are_those_published() -> None:
    general = ["fgsm_cross_entropy", "pgd_cross_entropy"]
    general += ["staged_balanced_masked_cross_entropy", "staged_margin", "staged_soft_dice"]
    evidential = ["staged_digamma", "staged_masked_margin", "staged_evidence_margin"]
    full = [*general, "apgd_soft_dice", "padam_cospgd"]
    assert names("quick", evidential=False) == names("quick", evidential=True) == general
    assert names("standard", evidential=False) == full
    assert names("standard", evidential=True) == [*full, *evidential]
    assert names("thorough", evidential=False) == [*full, "square_soft_dice"]
    transfers = ["transfer_soft_dice"] * 2
    assert names("thorough", evidential=True, surrogates=2) == [*full, *evidential, *transfers, "square_soft_dice"]
    assert [backward_passes(preset, evidential=False) for preset in PRESETS] == [101, 511, 1511]
    assert [backward_passes(preset, evidential=True) for preset in PRESETS] == [101, 811, 2411]
    assert backward_passes("thorough", evidential=False, surrogates=2) == 1711
    assert {member.objective for members in PRESETS.values() for member in members} <= set(OBJECTIVES)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'standard'"):
        members_of("standards", evidential=False)
    with pytest.raises(UnknownNameError, match="unknown preset 'slow'"):
        backward_passes("slow", evidential=True)
