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
    """What a framework asks for: an article or item, names of artefacts that serve it, and the state it can reach."""

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
    """Return the frameworks in a folder of YAML files, by their names; ``known`` are the names of all artefacts.

    Raises:
        DataError: if a file names an artefact or state that does not exist.
    """
    frameworks = []
    for file in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        items = []
        for name, asks, artefacts, best in content["items"]:
            wrong = [each for each in artefacts if each not in known]
            if wrong or best not in get_args(State):
                raise DataError(f"'{file}', item {name}: unknown artefact or state ({', '.join([*wrong, str(best)])})")
            items.append(Item(str(name), str(asks), tuple(artefacts), best))
        frameworks.append(Framework(file.stem, str(content["title"]), str(content["source"]), tuple(items)))
    return frameworks


def state_of(item: Item, found: Mapping[str, Sequence[Path]], short: Collection[str] = ()) -> State:
    """Return how far an item is served by the files of each artefact; those in ``short`` are there and hold too little.

    It is its best state where every artefact is there, partly where some are, else user.

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
