"""Writing an evidence pack."""

import hashlib
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trustseg import __version__
from trustseg.cards import CardFacts, chai_card, hugging_face_card, read_facts
from trustseg.cards.hugging_face import COVER
from trustseg.errors import ConfigError, MissingFileError
from trustseg.evidence.artefacts import ARTEFACTS, WRITTEN, found_in
from trustseg.evidence.bill import bill_of_materials
from trustseg.evidence.documents import datasheet, instructions
from trustseg.evidence.frameworks import Framework, Item, read_frameworks, state_of
from trustseg.evidence.reviewed import review_content
from trustseg.files import write_json, write_text
from trustseg.review.summary import ENOUGH

__all__ = ["write_pack"]

Places = Mapping[
    str, tuple[Sequence[Path], Path]
]  # of each artefact its files, and the folder that they are named from

_CHAI: Final = "card/chai-applied-model-card.xml"
_UNHASHED: Final = frozenset({"digests", "index", "signature"})  # they hold the hashes of all others


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
    reviewed = None if review is None else review_content(review, facts, state=state, images=images)
    left_out = {name for name, given in (("signature", key), ("review", reviewed)) if given is None}
    for name in left_out:  # of a former pack
        (folder / WRITTEN[name]).unlink(missing_ok=True)
    short = dict[str, str]()
    if reviewed is not None:
        write_json(folder / WRITTEN["review"], reviewed)
        if reviewed["decisions"] < ENOUGH:
            short["review"] = f"{reviewed['decisions']} of at least {ENOUGH} decisions"
    _write_documents(run, facts, folder)
    found = found_in(run, facts)
    written = {name: [folder / file] for name, file in WRITTEN.items() if name not in left_out}
    frameworks = read_frameworks([*ARTEFACTS, *WRITTEN])
    places = {name: (files, run) for name, files in found.items()} | {
        name: (files, folder) for name, files in written.items()
    }
    entries = [_framework_entry(each, places, short) for each in frameworks]
    write_json(folder / "items.json", {"model": facts.digest, "version": __version__, "frameworks": entries})
    write_text(folder / WRITTEN["index"], _index(facts, entries, sorted(written), signed=key is not None))
    _write_digests(folder)
    if key is not None:
        _sign(folder / WRITTEN["digests"], key)
    return folder / WRITTEN["index"]


def _write_documents(run: Path, facts: CardFacts, folder: Path) -> None:
    write_json(folder / WRITTEN["sbom"], bill_of_materials())
    write_text(folder / WRITTEN["card"], hugging_face_card(facts))
    write_text(folder / _CHAI, chai_card(facts))
    write_text(folder / WRITTEN["datasheet"], datasheet(run, facts))
    write_text(folder / WRITTEN["instructions"], instructions(facts, ARTEFACTS["policy"](run, facts)))


def _framework_entry(framework: Framework, places: Places, short: Mapping[str, str]) -> dict[str, Any]:
    items = [_item_entry(item, places, short) for item in framework.items]
    counts = Counter(str(item["state"]) for item in items)
    words = ", ".join(f"{state}: {counts[state]}" for state in ("filled", "partly", "user", "n.a.") if counts[state])
    return {
        "key": framework.key,
        "title": framework.title,
        "source": framework.source,
        "counts": words,
        "entries": items,
    }


def _item_entry(item: Item, places: Places, short: Mapping[str, str]) -> dict[str, Any]:
    files: list[dict[str, str]] = []
    for name in item.artefacts:
        paths, root = places.get(name, ((), Path()))
        for path in paths:
            digest = "" if name in _UNHASHED else hashlib.sha256(path.read_bytes()).hexdigest()
            files.append({"path": path.relative_to(root).as_posix(), "sha256": digest})
    found = {name: paths for name, (paths, _) in places.items()}
    return {
        "name": item.name,
        "asks": item.asks,
        "state": state_of(item, found, short),
        "files": files,
        "missing": [name for name in item.artefacts if not found.get(name)],
        "short": {name: short[name] for name in item.artefacts if name in short},
    }


def _index(facts: CardFacts, entries: Sequence[Mapping[str, Any]], written: Sequence[str], *, signed: bool) -> str:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    documents = [WRITTEN[name] for name in written if name not in ("index", "signature")]
    return environment.get_template("index.html.jinja").render(
        name=facts.name,
        digest=facts.digest,
        cover=COVER,
        version=__version__,
        day=datetime.now(UTC).date().isoformat(),
        signed="The digests are signed." if signed else "The digests are not signed; signing them is left to you.",
        documents=sorted([*documents, _CHAI, "items.json"]),
        frameworks=entries,
    )


def _write_digests(folder: Path) -> None:
    """Write the SHA-256 of every file of the pack, as ``sha256sum --check`` reads it."""
    kept = sorted({*WRITTEN.values(), _CHAI, "items.json"})
    files = [name for name in kept if not name.startswith("digests") and (folder / name).is_file()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in files]
    write_text(folder / WRITTEN["digests"], "\n".join(lines) + "\n")


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
