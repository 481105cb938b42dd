"""Writing an evidence pack."""

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from trustseg import __version__
from trustseg.cards import CardFacts, chai_card, hugging_face_card, read_facts
from trustseg.cards.documents import render
from trustseg.errors import ConfigError, DataError, MissingFileError
from trustseg.evidence.artefacts import ARTEFACTS, WRITTEN, command_for, found_in
from trustseg.evidence.bill import bill_of_materials
from trustseg.evidence.documents import datasheet, instructions
from trustseg.evidence.frameworks import Framework, Item, State, read_frameworks, state_of
from trustseg.files import write_json, write_text
from trustseg.prediction_folder import read_prediction_folder
from trustseg.review.cases import open_cases, sha256_of
from trustseg.review.summary import ENOUGH, summarise
from trustseg.review.verify import open_store, verify

__all__ = ["write_pack"]

_CHAI: Final = "card/chai-applied-model-card.xml"
_ITEMS: Final = "items.json"
_UNHASHED: Final = frozenset({"digests", "index", "signature"})  # they hold the hashes of all others
_NAMELESS: Final = ("about", "progress", "entries", "failures", "article_14")  # parts of a review's figures

_Places = Mapping[str, tuple[Sequence[Path], Path]]  # files of each artefact, and the folder that they are named from


def write_pack(
    model: Path,
    folder: Path,
    *,
    key: Path | None = None,
    review: Path | None = None,
    state: Path | None = None,
    images: Path | None = None,
) -> Path:
    """Write the evidence pack of a model and return its index.

    Args:
        model: the model's folder inside the folder of its run; nothing of a patient is copied from it.
        folder: to write; its former files of the same names are replaced.
        key: private SSH key that signs the digests; None leaves the signature to the user.
        review: folder of predictions of this model that people reviewed; None if there was no review.
        state: folder of that review; None where it lies in ``review``.
        images: folder of the reviewed images, if they were moved.

    Raises:
        MissingFileError: if there is no model, key or review.
        ConfigError: if the digests cannot be signed, or the review is of another model or without decisions.
        DataError: if a record beside the model is damaged, or the review is not whole.
    """
    if key is not None and not key.is_file():
        raise MissingFileError(f"no key '{key}'; give a private SSH key")
    facts, run = read_facts(model), model.absolute().parent
    reviewed = None if review is None else _review_content(review, facts, state=state, images=images)
    written = {
        name: [folder / file]
        for name, file in WRITTEN.items()
        if not (name == "signature" and key is None) and not (name == "review" and reviewed is None)
    }
    for name in WRITTEN.keys() - written.keys():  # of a former pack
        (folder / WRITTEN[name]).unlink(missing_ok=True)
    shortfalls = dict[str, str]()
    if reviewed is not None:
        write_json(folder / WRITTEN["review"], reviewed)
        if reviewed["decisions"] < ENOUGH:
            shortfalls["review"] = f"{reviewed['decisions']} of at least {ENOUGH} decisions"
    write_json(folder / WRITTEN["sbom"], bill_of_materials())
    write_text(folder / WRITTEN["card"], hugging_face_card(facts))
    write_text(folder / _CHAI, chai_card(facts))
    write_text(folder / WRITTEN["datasheet"], datasheet(run, facts))
    artefacts = found_in(run, facts)
    write_text(folder / WRITTEN["instructions"], instructions(facts, artefacts["policy"]))
    places = {name: (files, run) for name, files in artefacts.items()} | {
        name: (files, folder) for name, files in written.items()
    }
    entries = [_framework_entry(each, places, shortfalls) for each in read_frameworks([*ARTEFACTS, *WRITTEN])]
    write_json(folder / _ITEMS, {"model": facts.digest, "version": __version__, "frameworks": entries})
    documents = sorted({*(WRITTEN[name] for name in written if name not in ("index", "signature")), _CHAI, _ITEMS})
    index = render(
        "index.html.jinja",
        package="trustseg.evidence",
        facts=facts,
        day=datetime.now(UTC).date().isoformat(),
        signed=key is not None,
        documents=documents,
        frameworks=entries,
    )
    write_text(folder / WRITTEN["index"], index)
    hashed = sorted({*documents, WRITTEN["index"]} - {WRITTEN["digests"]})
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in hashed]  # as ``sha256sum --check`` reads it
    write_text(folder / WRITTEN["digests"], "".join(lines))
    if key is not None:
        _sign(folder / WRITTEN["digests"], key)
    return folder / WRITTEN["index"]


def _review_content(predictions: Path, facts: CardFacts, *, state: Path | None, images: Path | None) -> dict[str, Any]:
    """Return figures of a review by its verified log, without names of people or free text."""
    if read_prediction_folder(predictions).about.model != facts.digest:
        raise ConfigError(
            f"'{predictions}' holds predictions of another model, or by another calibration; give those of {facts.name}"
        )
    store = open_store(predictions, state=state, create=False)
    cases = open_cases(predictions, images=images)
    if faults := verify(store, folder=cases):
        raise DataError(f"the review in '{store.folder}' is not whole: {faults[0]}; restore a backup")
    found = summarise(cases, store)
    decided = sum(reader["decided"] for reader in found["readers"])
    if not decided:
        raise ConfigError(f"the review in '{store.folder}' holds no decision; review some cases first")
    return {"decisions": decided, "people": len(found["readers"]), **{name: found[name] for name in _NAMELESS}}


def _framework_entry(framework: Framework, places: _Places, short: Mapping[str, str]) -> dict[str, Any]:
    items = [_item_entry(item, places, short) for item in framework.items]
    counts = Counter(str(item["state"]) for item in items)
    return {
        "key": framework.key,
        "title": framework.title,
        "source": framework.source,
        "counts": ", ".join(f"{state}: {counts[state]}" for state in get_args(State) if counts[state]),
        "entries": items,
    }


def _item_entry(item: Item, places: _Places, short: Mapping[str, str]) -> dict[str, Any]:
    files: list[dict[str, str]] = []
    for name in item.artefacts:
        paths, root = places.get(name, ((), Path()))
        for path in paths:
            digest = "" if name in _UNHASHED else sha256_of(path)
            files.append({"path": path.relative_to(root).as_posix(), "sha256": digest})
    found = {name: paths for name, (paths, _) in places.items()}
    return {
        "name": item.name,
        "asks": item.asks,
        "state": state_of(item, found, short),
        "files": files,
        "missing": {name: command_for(name) for name in item.artefacts if not found.get(name)},
        "short": {name: short[name] for name in item.artefacts if name in short},
    }


def _sign(digests: Path, key: Path) -> None:
    """Sign a file with an SSH key; ``ssh-keygen -Y verify`` checks it."""
    signature = digests.with_name(f"{digests.name}.sig")
    signature.unlink(missing_ok=True)
    command = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", "trustseg", str(digests)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError as error:
        raise ConfigError("signing needs ssh-keygen, of OpenSSH; install it, or leave --sign out") from error
    if result.returncode != 0 or not signature.is_file():
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"ssh-keygen cannot sign with '{key}' ({reason}); check the key")
