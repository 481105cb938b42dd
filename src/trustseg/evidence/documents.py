"""The documents of a pack that are drafted from the records: datasheet and instructions for use."""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from trustseg.cards import CardFacts
from trustseg.cards.documents import render
from trustseg.cards.facts import DICE, user
from trustseg.deferral import load_any_policy
from trustseg.files import read_json

__all__ = ["datasheet", "instructions"]

_AREAS: Final = (0.0, 0.01, 0.05, 0.1, 0.2, 1.0)  # bounds of the histogram of areas, as shares of the image


def datasheet(run: Path, facts: CardFacts) -> str:
    """Return a datasheet of the data (Markdown), by the questions of Gebru et al.

    Reference:
        Gebru et al., "Datasheets for Datasets", Communications of the ACM 2021, arXiv:1803.09010.
    """
    file = run / "model" / "data.json"
    reading = read_json(file) if file.is_file() else {}
    shared = [_shared(run, what) for what in ("patients", "pictures")]
    values = {"reading": reading, "shared": shared, "areas": _areas(facts), "facts": facts}
    return render("datasheet.md.jinja", package="trustseg.evidence", **values)


def _shared(run: Path, what: str) -> str:
    """Return how many patients, or different pictures, stand on more than one side of the split, by their hashes."""
    file = run / "model" / "splits.json"
    match read_json(file).get(what) if file.is_file() else None:
        case {"train": list(train), "validation": list(validation), "test": list(test)}:
            sides = [set(map(str, side)) for side in (train, validation, test)]
            shared = set[str]().union(*(one & other for one, other in combinations(sides, 2)))
            return f"{what} on more than one side of the split: {len(shared)} of {len(set().union(*sides))}"
    return user(f"whether {what} stand on more than one side of the split; not recorded")


def _areas(facts: CardFacts) -> list[str]:
    """Return a histogram of the share of the image that the reference mask covers, for each evaluation, in words."""
    lines = []
    for measured in facts.measured:
        records = pl.read_parquet(measured.folder / "records.parquet", columns=["image", "kind", "mask_px", "pixels"])
        images = records.filter(kind="clean").unique("image")
        share = (images["mask_px"] / images["pixels"]).to_numpy()
        counts = np.histogram(share[share > 0], _AREAS)[0].tolist()
        ranges = [
            f"{low:.0%} to {high:.0%}: {count}" for (low, high), count in zip(pairwise(_AREAS), counts, strict=True)
        ]
        lines.append(
            f"{len(share)} test images ({measured.name}), empty: {int((share == 0).sum())}, {', '.join(ranges)}"
        )
    return lines


def instructions(facts: CardFacts, policies: Sequence[Path] = ()) -> str:
    """Return a draft of instructions for use (Markdown); ``policies`` are the files of those fitted for the model."""
    values = {"facts": facts, "policies": [_policy(file) for file in policies], "dice": DICE}
    return render("instructions_for_use.md.jinja", package="trustseg.evidence", **values)


def _policy(file: Path) -> str:
    policy = load_any_policy(file)
    score = f"{policy.measure} ({policy.aggregation})".replace("_", " ")
    which = {math.inf: "no image", -math.inf: "every image"}.get(
        policy.threshold, f"images whose {score} is above {policy.threshold:.3g}"
    )
    return f"{file.name} sends {which} to a human. {policy.statement}"
