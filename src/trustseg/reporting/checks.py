"""The checks of gradient masking that evaluation made of each model, and what they take from its robustness numbers."""

import math
from collections.abc import Sequence

from trustseg.reporting.labels import words
from trustseg.reporting.results import Results
from trustseg.run_files import MaskingCheck, MaskingChecks, checks_file, read_checked

__all__ = ["MARK", "Check", "check_matrix", "checks_not_run", "failed_checks", "load_checks", "mark_label", "trust"]

MARK = "not trustworthy"


class Check(MaskingCheck):
    """What one check found on one model of a variant."""

    variant: str
    model: str

    @property
    def value(self) -> float:
        """The figure, NaN if nothing was measured."""
        return math.nan if self.figure is None else self.figure

    @property
    def text(self) -> str:
        """The figure in short."""
        return "not run" if self.status == "not_run" else f"{self.value:.2g}".replace("nan", "NaN")

    @property
    def excess(self) -> tuple[bool, float]:
        """How suspicious a finding is, for sorting: a verdict first, then the figure over its threshold."""
        return self.status == "suspicious", -math.inf if math.isnan(self.value) else self.value / self.threshold


def load_checks(results: Results) -> tuple[Check, ...]:
    """Return every check of every finished cell; none of cells that were not checked."""
    return tuple(
        Check(**check.model_dump(include=set(MaskingCheck.model_fields)), variant=cell.variant, model=cell.id)
        for cell in results.cells
        if (path := checks_file(cell.folder)).is_file()
        for check in read_checked(path, MaskingChecks).checks
    )


def _by_variant(checks: Sequence[Check]) -> dict[str, list[Check]]:
    return {name: [check for check in checks if check.variant == name] for name in _names(checks, "variant")}


def _names(checks: Sequence[Check], of: str) -> list[str]:
    return list(dict.fromkeys(getattr(check, of) for check in checks))


def failed_checks(checks: Sequence[Check]) -> dict[str, str]:
    """Return for each variant with a suspicious check which those are, in words."""
    found: dict[str, str] = {}
    for variant, made in _by_variant(checks).items():
        suspicious = sorted((check for check in made if check.status == "suspicious"), key=lambda check: check.excess)
        worst = {check.name: check for check in suspicious}
        texts = [f"{words(name)} {c.value:.3g} (at most {c.threshold:.3g})" for name, c in worst.items()]
        found |= {variant: ", ".join(texts)} if texts else {}
    return found


def _not_run(made: Sequence[Check]) -> dict[str, str]:
    """Return the checks that were not run on every model of a variant, each with the reason."""
    return {check.name: check.meaning.removeprefix("not run: ") for check in made if check.status == "not_run"}


def trust(checks: Sequence[Check], variant: str) -> str | None:
    """Return what the checks say of a variant, for a table; None where none was made.

    A check that was not run on every model of the variant has not been passed.

    Example:
        >>> about = {"variant": "beta", "model": "cell", "threshold": 0.1, "meaning": ""}
        >>> made = [Check(name=name, figure=0.0, status="ok", **about) for name in ("noise", "restarts")]
        >>> trust(made, "beta")
        'all 2 checks passed'
        >>> trust([*made, Check(name="transfer", figure=None, status="not_run", **about)], "beta")
        '2 of 3 checks passed, not run: transfer'
    """
    made = _by_variant(checks).get(variant)
    if not made:
        return None
    if any(check.status == "suspicious" for check in made):
        return MARK
    total, left = len(_names(made, "name")), _not_run(made)
    if not left:
        return f"all {total} checks passed"
    return f"{total - len(left)} of {total} checks passed, not run: {', '.join(map(words, left))}"


def checks_not_run(checks: Sequence[Check]) -> dict[str, str]:
    """Return in words, for each variant, which checks were not run and why; none of variants that lack none."""
    found = {}
    for variant, made in _by_variant(checks).items():
        if left := _not_run(made):
            why = "; ".join(f"{words(name)}: {reason}" for name, reason in left.items())
            found[variant] = f"{len(left)} of {len(_names(made, 'name'))} checks not run ({why})"
    return found


def mark_label(checks: Sequence[Check], variant: str, label: str) -> str:
    """Return a label with the mark of a variant that failed a check."""
    return f"{label} ({MARK})" if trust(checks, variant) == MARK else label


def check_matrix(checks: Sequence[Check]) -> tuple[list[str], list[tuple[str, str, str, list[Check | None]]]]:
    """Return the variants, and for each check its name, threshold, meaning and the worst finding of each variant."""
    variants, found = _by_variant(checks), []
    for name in _names(checks, "name"):
        worst = [
            max((check for check in made if check.name == name), key=lambda check: check.excess, default=None)
            for made in variants.values()
        ]
        every = [check for check in checks if check.name == name]
        run = [check for check in every if check.status != "not_run"] or every[:1]
        limit = " or ".join(f"{threshold:.3g}" for threshold in sorted({check.threshold for check in run}))
        found.append((words(name), limit, run[0].meaning, worst))
    return list(variants), found
