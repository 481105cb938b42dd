"""Facts from the log of a review for an evidence pack, without names of people or free text."""

from pathlib import Path
from typing import Any, Final

from trustseg.cards import CardFacts
from trustseg.errors import ConfigError, DataError
from trustseg.prediction_folder import read_prediction_folder
from trustseg.review.cases import open_cases
from trustseg.review.summary import summarise
from trustseg.review.verify import open_store, verify

__all__ = ["review_content"]

_NAMELESS: Final = ("about", "progress", "entries", "failures", "article_14")


def review_content(
    predictions: Path, facts: CardFacts, *, state: Path | None = None, images: Path | None = None
) -> dict[str, Any]:
    """Return the figures of a review of predictions by a model, from its verified log, and how many decisions stand.

    Args:
        predictions: folder that ``trustseg predict`` has written.
        facts: of the model.
        state: folder of the review; None where it lies in ``predictions``.
        images: folder of the images, if they were moved.

    Raises:
        MissingFileError: if there is no review, or a file that it is about.
        ConfigError: if the predictions are of another model, or no decision stands.
        DataError: if log, predictions or images were changed.
    """
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
