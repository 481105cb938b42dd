"""The checks of gradient masking that evaluation made of each model, and what they take from its robustness numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trustseg.reporting.labels import words
from trustseg.reporting.results import Results
from trustseg.run_files import Suspicions, read_checked
from trustseg.reporting.tables import Row, Table, make_table

__all__ = ["MARK", "Check", "check_matrix", "check_table", "failures", "load_checks", "marked", "trust", "unchecked"]

MARK = "not trustworthy"


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found on one model.

    Attributes:
        variant: of the model.
        model: its cell.
        check: name of the check.
        figure: what was measured, NaN if nothing was.
        threshold: a figure above it is suspicious.
        status: ok, suspicious or not_run.
        meaning: what was compared, in a sentence.
    """

    variant: str
    model: str
    check: str
    figure: float
    threshold: float
    status: str
    meaning: str

    @property
    def text(self) -> str:
        """The figure in short."""
        if self.status == "not_run":
            return "not run"
        return "NaN" if math.isnan(self.figure) else f"{self.figure:.2g}"

    @property
    def excess(self) -> tuple[bool, float]:
        """How suspicious a finding is, for sorting: a verdict first, then the figure over its threshold."""
        figure = -math.inf if math.isnan(self.figure) else self.figure / self.threshold
        return self.status == "suspicious", figure


def load_checks(results: Results) -> tuple[Check, ...]:
    """Return every check of every finished cell; none of cells that were not checked."""
    return tuple(
        Check(
            variant=cell.variant,
            model=cell.id,
            check=entry.name,
            figure=math.nan if entry.figure is None else entry.figure,
            threshold=entry.threshold,
            status=entry.status,
            meaning=entry.meaning,
        )
        for cell in results.cells
        if (path := cell.folder / "suspicions.json").is_file()
        for entry in read_checked(path, Suspicions).checks
    )


def failures(checks: Sequence[Check]) -> dict[str, str]:
    """Return for each variant with a suspicious check which those are, in words."""
    found: dict[str, dict[str, Check]] = {}
    for check in sorted(checks, key=lambda check: check.excess):
        if check.status == "suspicious":
            found.setdefault(check.variant, {})[check.check] = check
    variants = dict.fromkeys(check.variant for check in checks)
    return {
        variant: ", ".join(
            f"{words(name)} {check.figure:.3g} (at most {check.threshold:.3g})"
            for name, check in found[variant].items()
        )
        for variant in variants
        if variant in found
    }


def _not_run(checks: Sequence[Check], variant: str) -> dict[str, str]:
    """Return the checks that were not run on every model of a variant, each with the reason."""
    return {
        check.check: check.meaning.removeprefix("not run: ")
        for check in checks
        if check.variant == variant and check.status == "not_run"
    }


def trust(checks: Sequence[Check], variant: str) -> str | None:
    """Return what the checks say of a variant, for a table; None where none was made.

    A check that was not run on every model of the variant has not been passed.

    Example:
        >>> made = [Check("beta", "cell", name, 0.0, 0.1, "ok", "what it says") for name in ("noise", "restarts")]
        >>> trust(made, "beta")
        'all 2 checks passed'
        >>> trust([*made, Check("beta", "cell", "transfer", math.nan, 0.1, "not_run", "no surrogate")], "beta")
        '2 of 3 checks passed, not run: transfer'
    """
    made = [check for check in checks if check.variant == variant]
    if not made:
        return None
    if any(check.status == "suspicious" for check in made):
        return MARK
    names, left = {check.check for check in made}, _not_run(made, variant)
    if not left:
        return f"all {len(names)} checks passed"
    return f"{len(names) - len(left)} of {len(names)} checks passed, not run: {', '.join(map(words, left))}"


def unchecked(checks: Sequence[Check]) -> dict[str, str]:
    """Return in words, for each variant, which checks were not run and why; none of variants that lack none."""
    found = {}
    for variant in dict.fromkeys(check.variant for check in checks):
        if left := _not_run(checks, variant):
            names = {check.check for check in checks if check.variant == variant}
            why = "; ".join(f"{words(name)}: {reason}" for name, reason in left.items())
            found[variant] = f"{len(left)} of {len(names)} checks not run ({why})"
    return found


def marked(checks: Sequence[Check], variant: str, label: str) -> str:
    """Return a label with the mark of a variant that failed a check."""
    return f"{label} ({MARK})" if trust(checks, variant) == MARK else label


def check_table(checks: Sequence[Check]) -> Table:
    """Return one row per model and check."""
    rows: list[Row] = [
        {
            "variant": check.variant,
            "model": check.model,
            "check": words(check.check),
            "figure": check.figure,
            "threshold": check.threshold,
            "status": words(check.status),
            "meaning": check.meaning,
        }
        for check in checks
    ]
    title = "Signs of gradient masking: every check of every model"
    return make_table("checks", title, rows, {"threshold": "Suspicious above"})


def check_matrix(checks: Sequence[Check]) -> tuple[list[str], list[tuple[str, str, str, list[Check | None]]]]:
    """Return the variants, and for each check its name, threshold, meaning and the worst finding of each variant."""
    variants = list(dict.fromkeys(check.variant for check in checks))
    found = []
    for name in dict.fromkeys(check.check for check in checks):
        every = [check for check in checks if check.check == name]
        worst = [
            max((check for check in every if check.variant == variant), key=lambda check: check.excess, default=None)
            for variant in variants
        ]
        run = [check for check in every if check.status != "not_run"] or every[:1]
        limit = " or ".join(f"{threshold:.3g}" for threshold in sorted({check.threshold for check in run}))
        found.append((words(name), limit, run[0].meaning, worst))
    return variants, found
