"""The checks of gradient masking that evaluation made of each model, and what they take from its robustness numbers."""

import math
from dataclasses import dataclass

from trustseg.reporting.choices import words
from trustseg.reporting.results import FinishedCell, Results
from trustseg.reporting.tables import Column, Table, Value
from trustseg.run_files import Suspicions, read_checked

__all__ = [
    "MARK",
    "Check",
    "check_matrix",
    "check_table",
    "doubts",
    "load_checks",
    "marked",
    "reason",
    "trust",
    "unchecked",
]

MARK = "not trustworthy"


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found on one model.

    Attributes:
        cell: the model.
        variant: its variant.
        name: of the check.
        status: ok, suspicious or not_run.
        figure: what was measured, NaN if nothing was.
        threshold: a figure above it is suspicious.
        meaning: what was compared, in a sentence.
    """

    cell: str
    variant: str
    name: str
    status: str
    figure: float
    threshold: float
    meaning: str

    @property
    def text(self) -> str:
        """The figure in short."""
        if self.status == "not_run":
            return "not run"
        return "NaN" if math.isnan(self.figure) else f"{self.figure:.2g}"


def load_checks(results: Results) -> tuple[Check, ...]:
    """Return every check of every finished cell; none of cells that were not checked.

    Raises:
        DataError: if a file of checks cannot be read.
    """
    return tuple(check for cell in results.cells for check in _checks_of(cell))


def doubts(checks: tuple[Check, ...]) -> dict[str, list[Check]]:
    """Return the suspicious checks of each variant that has one."""
    found: dict[str, list[Check]] = {}
    for check in checks:
        if check.status == "suspicious":
            found.setdefault(check.variant, []).append(check)
    return found


def reason(found: list[Check]) -> str:
    """Return in words why the robustness numbers of a variant are not to be trusted."""
    worst = {check.name: check for check in sorted(found, key=_excess)}
    names = [f"{words(name)} {check.figure:.3g} (at most {check.threshold:.3g})" for name, check in worst.items()]
    return ", ".join(names)


def gaps(checks: tuple[Check, ...], variant: str) -> dict[str, str]:
    """Return the checks that were not run on every model of a variant, each with the reason."""
    left = [check for check in checks if check.variant == variant and check.status == "not_run"]
    return {check.name: check.meaning.removeprefix("not run: ") for check in left}


def trust(checks: tuple[Check, ...], variant: str) -> str | None:
    """Return what the checks say of a variant, for a table; None where none was made.

    A check that was not run on every model of the variant has not been passed.

    Example:
        >>> made = [Check("cell", "beta", name, "ok", 0.0, 0.1, "what it says") for name in ("noise", "restarts")]
        >>> trust(tuple(made), "beta")
        'all 2 checks passed'
        >>> trust((*made, Check("cell", "beta", "transfer", "not_run", math.nan, 0.1, "not run: no surrogate")), "beta")
        '2 of 3 checks passed, not run: transfer'
    """
    made = [check for check in checks if check.variant == variant]
    if not made:
        return None
    if any(check.status == "suspicious" for check in made):
        return MARK
    names, left = {check.name for check in made}, gaps(checks, variant)
    if not left:
        return f"all {len(names)} checks passed"
    return f"{len(names) - len(left)} of {len(names)} checks passed, not run: {', '.join(map(words, left))}"


def unchecked(checks: tuple[Check, ...]) -> dict[str, str]:
    """Return in words, for each variant, which checks were not run and why; none of variants that lack none."""
    found = {}
    for variant in dict.fromkeys(check.variant for check in checks):
        if left := gaps(checks, variant):
            names = {check.name for check in checks if check.variant == variant}
            why = "; ".join(f"{words(name)}: {reason}" for name, reason in left.items())
            found[variant] = f"{len(left)} of {len(names)} checks not run ({why})"
    return found


def marked(checks: tuple[Check, ...], variant: str, label: str) -> str:
    """Return a label with the mark of a variant that failed a check."""
    return f"{label} ({MARK})" if trust(checks, variant) == MARK else label


def check_table(checks: tuple[Check, ...]) -> Table:
    """Return one row per model and check: figure, threshold, status, meaning."""
    columns = (
        Column("variant", "Variant"),
        Column("model", "Model"),
        Column("check", "Check"),
        Column("figure", "Figure"),
        Column("threshold", "Suspicious above"),
        Column("status", "Status"),
        Column("meaning", "Meaning"),
    )
    rows: list[dict[str, Value]] = [
        {
            "variant": check.variant,
            "model": check.cell,
            "check": words(check.name),
            "figure": check.figure,
            "threshold": check.threshold,
            "status": words(check.status),
            "meaning": check.meaning,
        }
        for check in checks
    ]
    return Table("checks", "Signs of gradient masking: every check of every model", columns, tuple(rows))


def check_matrix(checks: tuple[Check, ...]) -> tuple[list[str], list[tuple[str, str, str, list[Check | None]]]]:
    """Return the variants, and for each check its name, threshold, meaning and the worst finding of each variant."""
    variants = list(dict.fromkeys(check.variant for check in checks))
    found = []
    for name in dict.fromkeys(check.name for check in checks):
        worst: list[Check | None] = []
        for variant in variants:
            made = [check for check in checks if (check.name, check.variant) == (name, variant)]
            worst.append(max(made, key=_excess, default=None))
        meanings = [check.meaning for check in checks if check.name == name and check.status != "not_run"]
        every = [check for check in checks if check.name == name]
        limits = sorted({check.threshold for check in every if check.status != "not_run"} or {every[0].threshold})
        limit = " or ".join(f"{threshold:.3g}" for threshold in limits)
        found.append((words(name), limit, (meanings or [every[0].meaning])[0], worst))
    return variants, found


def _excess(check: Check) -> tuple[bool, float]:
    """Return how suspicious a finding is, for sorting: a verdict first, then the figure over its threshold."""
    figure = -math.inf if math.isnan(check.figure) else check.figure / check.threshold
    return check.status == "suspicious", figure


def _checks_of(cell: FinishedCell) -> list[Check]:
    path = cell.folder / "suspicions.json"
    found = read_checked(path, Suspicions).checks if path.is_file() else []
    return [
        Check(
            cell=cell.id,
            variant=cell.variant,
            name=entry.name,
            status=entry.status,
            figure=math.nan if entry.figure is None else entry.figure,
            threshold=entry.threshold,
            meaning=entry.meaning,
        )
        for entry in found
    ]
