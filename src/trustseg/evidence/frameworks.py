"""Frameworks as data: one YAML file each, whose items name the artefacts that may serve them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import yaml

from trustseg.errors import DataError

__all__ = ["FOLDER", "Framework", "Item", "State", "read_frameworks", "state_of"]

State = Literal["filled", "partly", "user", "n.a."]

FOLDER: Final = Path(__file__).parent / "frameworks"


@dataclass(frozen=True, slots=True)
class Item:
    """What a framework asks for.

    Attributes:
        name: number of the article or item.
        asks: for what, in words.
        artefacts: names of the artefacts that serve it.
        best: state that it reaches where all of them are there.
    """

    name: str
    asks: str
    artefacts: tuple[str, ...]
    best: State


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework: file name without suffix, title, source and items."""

    key: str
    title: str
    source: str
    items: tuple[Item, ...]


def read_frameworks(known: Sequence[str], folder: Path = FOLDER) -> list[Framework]:
    """Return the frameworks in a folder, by name of their files.

    Args:
        known: names of all artefacts.
        folder: of the YAML files, which have the form of those that are shipped.

    Raises:
        DataError: if a file names an artefact or state that does not exist.
    """
    return [_framework(file, known) for file in sorted(folder.glob("*.yaml"))]


def _framework(file: Path, known: Sequence[str]) -> Framework:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    items = []
    for row in content["items"]:
        name, asks, artefacts, best = row
        wrong = [each for each in artefacts if each not in known]
        if wrong or best not in get_args(State):
            raise DataError(f"'{file}', item {name}: unknown artefact or state ({', '.join([*wrong, str(best)])})")
        items.append(Item(str(name), str(asks), tuple(artefacts), best))
    return Framework(file.stem, str(content["title"]), str(content["source"]), tuple(items))


def state_of(item: Item, found: Mapping[str, Sequence[Path]], short: Collection[str] = ()) -> State:
    """Return how far an item is served: its best state where every artefact is there, partly where some are, else user.

    Args:
        item: what is asked for.
        found: files of each artefact.
        short: artefacts that are there and hold too little.

    Example:
        >>> item = Item("1", "accuracy", ("evaluation", "splits"), "filled")
        >>> state_of(item, {"evaluation": [Path("a")]}), state_of(item, {})
        ('partly', 'user')
    """
    there = [name for name in item.artefacts if found.get(name)]
    whole = [name for name in there if name not in short]
    if item.best in ("user", "n.a.") or len(whole) == len(item.artefacts) > 0:
        return item.best
    return "partly" if there else "user"
