"""The artefacts that may serve an item: files of a run, found and told from those of other models."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.cards import CardFacts
from trustseg.files import read_json

__all__ = ["ARTEFACTS", "WRITTEN", "found_in"]

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
"""Artefacts that the pack itself holds, by their file; signature and review only where a key or review was given."""

Finder = Callable[[Path, CardFacts], list[Path]]


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
    return [file for file in sorted(files) if read_json(file).get("model") == facts.digest]


ARTEFACTS: Final[Mapping[str, Finder]] = {
    "attacks": _with_kind("attack"),
    "config": _files("config.yaml"),
    "evaluation": _evaluations,
    "masking_checks": _beside_evaluations("masking_checks.json"),
    "policy": _policies,
    "provenance": _files("provenance.json"),
    "reading": _files("model/data.json"),
    "shifts": _with_kind("shift"),
    "splits": _files("model/splits.json"),
}
"""Artefacts of a run: name -> function from the run's folder to its files, none if there are none."""


def found_in(run: Path, facts: CardFacts) -> dict[str, list[Path]]:
    """Return the files of each artefact of a run."""
    return {name: finder(run, facts) for name, finder in ARTEFACTS.items()}
