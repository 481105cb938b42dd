"""The artefacts that may serve an item: files of a run, found and told from those of other models."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from trustseg.cards import CardFacts
from trustseg.deferral import load_any_policy

__all__ = ["ARTEFACTS", "OPTIONS", "WRITTEN", "Artefact", "command_for", "found_in"]

WRITTEN: Final[Mapping[str, str]] = {
    "card": "card/README.md",
    "datasheet": "datasheet.md",
    "digests": "digests.txt",
    "index": "index.html",
    "instructions": "instructions_for_use.md",
    "review": "review.json",
    "sbom": "sbom.cdx.json",
    "signature": "digests.txt.sig",
}
"""Artefacts that the pack itself holds, by their file."""

OPTIONS: Final[Mapping[str, str]] = {"review": "--review PREDICTIONS", "signature": "--sign KEY"}
"""Artefacts in ``WRITTEN`` that are there only with an option, and that option."""

Finder = Callable[[Path, CardFacts], list[Path]]


class Artefact(NamedTuple):
    """An artefact of a run: the function from the run's folder to its files, and the command that makes them."""

    find: Finder
    command: str


def _files(*names: str) -> Finder:
    return lambda run, facts: [run / name for name in names if (run / name).is_file()]


def _evaluations(run: Path, facts: CardFacts) -> list[Path]:
    return [measured.folder / "records.parquet" for measured in facts.measured]


def _with_kind(kind: str) -> Finder:
    def find(run: Path, facts: CardFacts) -> list[Path]:
        def holds(file: Path) -> bool:
            return bool((pl.read_parquet(file, columns=["kind"])["kind"] == kind).any())

        return [file for file in _evaluations(run, facts) if holds(file)]

    return find


def _beside_evaluations(name: str) -> Finder:
    return lambda run, facts: [file for each in facts.measured if (file := each.folder / name).is_file()]


def _policies(run: Path, facts: CardFacts) -> list[Path]:
    files = {*run.glob("policy*.json"), *_beside_evaluations("policy.json")(run, facts)}
    policies = {file: load_any_policy(file) for file in sorted(files)}
    return [file for file, policy in policies.items() if policy.model == facts.digest and policy.fitted]


ARTEFACTS: Final[Mapping[str, Artefact]] = {
    "attacks": Artefact(_with_kind("attack"), "trustseg evaluate RUN 'evaluation.attacks=[{name: pgd, eps: [4/255]}]'"),
    "config": Artefact(_files("config.yaml"), "trustseg train"),
    "evaluation": Artefact(_evaluations, "trustseg evaluate RUN"),
    "masking_checks": Artefact(
        _beside_evaluations("masking_checks.json"), "trustseg evaluate RUN evaluation.masking_checks=20"
    ),
    "policy": Artefact(_policies, "trustseg defer fit RUN -o RUN/policy.json"),
    "provenance": Artefact(_files("provenance.json"), "trustseg train"),
    "reading": Artefact(_files("model/data.json"), "trustseg train"),
    "shifts": Artefact(_with_kind("shift"), "trustseg evaluate RUN evaluation.shifts=all"),
    "splits": Artefact(_files("model/splits.json"), "trustseg train"),
}
"""Artefacts of a run, by name."""


def command_for(name: str) -> str:
    """Return the command that makes an artefact which was not found."""
    return ARTEFACTS[name].command if name in ARTEFACTS else f"trustseg evidence RUN {OPTIONS[name]}"


def found_in(run: Path, facts: CardFacts) -> dict[str, list[Path]]:
    """Return the files of each artefact of a run."""
    return {name: artefact.find(run, facts) for name, artefact in ARTEFACTS.items()}
