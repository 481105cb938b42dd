"""The documents of a pack that are drafted from the records: datasheet and instructions for use."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from trustseg.cards import CardFacts
from trustseg.cards.facts import DICE, interval_words, user
from trustseg.cards.hugging_face import COVER
from trustseg.files import read_json

__all__ = ["datasheet", "instructions"]

_WORST: Final = 10  # conditions that are named


def datasheet(run: Path, facts: CardFacts) -> str:
    """Return a datasheet of the data (Markdown), by the questions of Gebru et al.

    Reference:
        Gebru et al., "Datasheets for Datasets", Communications of the ACM 2021, arXiv:1803.09010.
    """
    return "\n".join(_datasheet(run, facts)) + "\n"


def _datasheet(run: Path, facts: CardFacts) -> Iterator[str]:
    file = run / "model" / "data.json"
    reading = read_json(file) if file.is_file() else {}
    yield f"# Datasheet of the data of {facts.name}\n\n> {COVER}\n"
    yield "## Motivation and collection\n"
    yield f"- {user('origin, dates, devices, sites, who collected the images and why')}"
    yield f"- {user('consent of patients, vote of an ethics committee, licence')}\n"
    yield "## Composition\n"
    yield f"- marked: {facts.target or user('what the masks mark')}"
    yield f"- images and patients: {facts.split_words() or user('not recorded')}"
    yield f"- digest of images and masks: {facts.provided('data', 'digest') or user('not recorded')}"
    yield f"- layout: {facts.provided('data', 'layout') or user('not recorded')}"
    yield f"- {user('age, sex, findings and other groups; nothing of this is in the records')}\n"
    yield "## Labelling\n"
    yield f"- {user('who drew the reference masks, by which protocol, with which agreement')}\n"
    yield "## Preprocessing\n"
    yield f"- side of the square in pixels: {reading.get('size', user('not recorded'))}"
    yield f"- fitted into it by: {reading.get('fit', user('not recorded'))}"
    notes = reading.get("notes")
    for note in notes if isinstance(notes, list) else []:
        yield f"- {note}"
    yield "\n## Split\n"
    yield f"- {_shared(run)}"
    yield "- model/splits.json holds salted hashes of patients and pictures of each side."


def _shared(run: Path) -> str:
    """Return how many patients stand on more than one side of the split, by their hashes."""
    file = run / "model" / "splits.json"
    match read_json(file).get("patients") if file.is_file() else None:
        case {"train": list(train), "validation": list(validation), "test": list(test)}:
            sides = [set(map(str, side)) for side in (train, validation, test)]
            shared = (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])
            return f"patients on more than one side of the split: {len(shared)} of {len(set().union(*sides))}"
    return user("whether patients stand on more than one side of the split; not recorded")


def instructions(facts: CardFacts, policies: Sequence[Path] = ()) -> str:
    """Return a draft of instructions for use (Markdown); ``policies`` are the files of those fitted for the model."""
    return "\n".join(_instructions(facts, policies)) + "\n"


def _instructions(facts: CardFacts, policies: Sequence[Path]) -> Iterator[str]:
    yield f"# Instructions for use of {facts.name}: draft\n\n> {COVER}\n"
    yield "## Purpose\n"
    yield f"- {user('intended use, users, patients, and what it must not be used for')}\n"
    yield "## Input\n"
    yield f"- {facts.input_words()}"
    yield f"- {user('modality, view, devices and quality that were tested')}\n"
    yield "## Output, and how to read it\n"
    yield f"- mask: pixels whose probability of {facts.target or 'foreground'} is above 0.5"
    yield "- uncertainty: higher means less sure; it tells where to look first, not what is right"
    yield "- score of the image: images above the threshold of the deferral policy, if there is one, go to a human\n"
    yield "## Accuracy\n"
    if not facts.measured:
        yield f"- {user('no evaluation of this model lies beside it; run trustseg evaluate')}"
    for measured in facts.measured:
        yield f"On {measured.description()}:\n"
        for label, interval in {**measured.overlap, **measured.trust}.items():
            yield f"- {label}: {interval_words(interval)}"
    yield "\n## What lowers it\n"
    for measured in facts.measured:
        worst = list(measured.changed.items())[:_WORST]
        if worst:
            every = f"the {_WORST} lowest of {len(measured.changed)}" if len(measured.changed) > _WORST else "all"
            unchanged = interval_words(measured.overlap[DICE])
            yield f"Dice per image, unchanged: {unchanged}; under attacks and shifts, {every} that were measured:\n"
        for name, found in worst:
            yield f"- {name}: {interval_words(found)}"
    if not any(measured.changed for measured in facts.measured):
        yield f"- {user('attacks and shifts were not measured')}"
    yield f"- {user('other conditions known from use')}\n"
    yield "## Oversight\n"
    for file in policies:
        yield f"- {_policy(file)}"
    if policies:
        yield "- a policy is about unchanged images of new patients like those it was fitted on; under attack, shift"
        yield "  and for another population it is void"
    else:
        yield f"- {user('which images go to a human; no deferral policy of this model was found')}"
    yield f"- {user('who reviews them, how a result is overridden, and how the system is stopped')}"


def _policy(file: Path) -> str:
    """Return what a policy does, in a sentence or two."""
    content = read_json(file)
    score = f"{content['measure']} ({content['aggregation']})".replace("_", " ")
    threshold = float(str(content["threshold"]))
    if math.isinf(threshold):
        which = "no image" if threshold > 0 else "every image"
        return f"{file.name} sends {which} to a human: it was fitted on too few patients, or its aim cannot be reached"
    return f"{file.name} sends images whose {score} is above {threshold:.3g} to a human. {content['statement']}"
