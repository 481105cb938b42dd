"""What is checked before a command writes anything."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trustseg.config import RunConfig, StudyConfig
    from trustseg.data import Pack

__all__ = ["require_models", "require_splits", "runs_of"]


def runs_of(study: "StudyConfig") -> "list[RunConfig]":
    """Return every run of a study's grid."""
    from trustseg.config import with_values

    return [with_values(study, values) for values in study.combinations()]


def require_models(runs: "Iterable[RunConfig]") -> None:
    """Build the model of each run once, with its weights, and forget it; the global random state is left as found.

    Raises:
        UnknownNameError: if an encoder is not known.
        ModelError: if architecture and encoder do not fit, or the weights are not those of the encoder.
        MissingFileError: if a weights file is not there.
    """
    import torch

    from trustseg.models import build_segmenter, load_encoder_weights

    built = set()
    for run in runs:
        model, channels = run.model, run.data.channels
        parts = (model.architecture, model.encoder, model.depth, model.weights, model.accept_noncommercial, channels)
        if parts in built:
            continue
        built.add(parts)
        with torch.random.fork_rng(devices=[]):
            segmenter = build_segmenter(
                architecture=model.architecture,
                encoder=model.encoder,
                channels=channels,
                depth=model.depth,
                accept_noncommercial=model.accept_noncommercial,
            )
        if model.weights is not None:
            load_encoder_weights(segmenter, model.weights)


def require_splits(runs: "Iterable[RunConfig]", pack: "Pack") -> None:
    """Split the images as each run will.

    Raises:
        DataError: if they cannot be split; names the dataset.
    """
    from trustseg.errors import DataError
    from trustseg.evaluation import rows_of_split

    for data in {run.data.model_dump_json(): run.data for run in runs}.values():
        try:
            rows_of_split(pack, "train", data)
        except DataError as error:
            few = f" holds {len(pack)} image{'' if len(pack) == 1 else 's'}, too few to train, validate and test on"
            raise DataError(f"'{data.path}'{few if len(pack) < 3 else ''}: {error}") from error
