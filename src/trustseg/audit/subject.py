"""The subject of an audit: a model of ours, a foreign model, or a folder of predictions."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from trustseg.config import DataConfig
from trustseg.config.loading import data_of_run
from trustseg.data import Pack, open_dataset
from trustseg.data.batches import PackRows, as_images
from trustseg.data.resizing import Fit
from trustseg.data.training_record import (
    TrainingRecord,
    parse_training_record,
    read_preprocessing,
    read_training_record,
)
from trustseg.errors import ConfigError, DataError, MissingFileError, ModelError
from trustseg.evaluation import SizedModel, as_belief_model, hash_of_model, is_other_data, load_model
from trustseg.evaluation.gallery import gallery_rows
from trustseg.export import ExportedBelief, is_exported, open_exported
from trustseg.models import BeliefModel
from trustseg.progress import ProgressCallback

if TYPE_CHECKING:
    from trustseg.models.foreign import Findings, ForeignNetwork

__all__ = ["ModelOptions", "Subject", "open_subject"]

Maps = Mapping[str, NDArray[np.float32]]
_OpenPack = Callable[..., Pack]  # the data, for settings of open_dataset that a model asks for

DEFAULT_SIZE: Final = 224
_SEARCHED: Final = 16  # images on which the conventions of a model are found
_LARGEST: Final = 1024  # side of images that are tried at their own size


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How a model and its data are opened.

    Attributes:
        weights: of ``package.module:function``, a safetensors file or state dict.
        trust_code: whether the model may run code of its own.
        output: which of several outputs of a model is the mask.
        conventions: what is known of its input and output, by field of ``Conventions``.
        size: side of the square at which images are measured; None: what the model needs, else 224, else the size of
            every image if the model finds nothing at 224.
        fit: how images are fitted into it; None decides.
    """

    weights: Path | str | None = None
    trust_code: bool = False
    output: str | int | None = None
    conventions: Mapping[str, object] = field(default_factory=dict)
    size: int | None = None
    fit: Fit | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is audited."""

    name: str  # of the model or folder
    pack: Pack  # the images that it is audited on
    facts: tuple[str, ...]  # what was found, a sentence each
    digest: str = ""  # hash of the model, empty for predictions until they have been read
    model: BeliefModel | None = None  # None for predictions
    predictions: Maps | None = None  # None for a model
    gradients: bool = False  # whether the model can be differentiated
    has_probability: bool = True  # whether there are probabilities, not masks alone
    seen: TrainingRecord | None = None  # what a model of ours has seen, None if that is not known
    # how the data of a model of ours are split, without a path if these are not the data of its training
    data: DataConfig = field(default_factory=DataConfig)

    @property
    def tier(self) -> int:
        """Return 0 for predictions, 1 for a model without gradients, 2 for one with."""
        return 0 if self.model is None else 1 + self.gradients


def open_subject(
    source: object, data: Path | str | Pack, options: ModelOptions, *, progress: ProgressCallback | None = None
) -> Subject:
    """Return what is audited, with the images that it is audited on.

    ``source`` is a path, ``package.module:function``, a mapping from names of cases to probability maps, or a model;
    ``data`` whatever ``open_dataset`` opens. ``progress`` is called while images are packed.
    """
    open_pack = partial(_open_pack, data, options, progress)
    if isinstance(source, Mapping):
        _require_unused(options, "a mapping of predictions")
        return _subject_of_predictions("predictions", source, open_pack)
    if isinstance(source, str | Path) and (path := Path(source)).exists():
        run = path / "model" if (path / "model" / "model.json").is_file() else path
        if (run / "model.json").is_file():
            _require_unused(options, f"'{path}', a model of trustseg")
            return _subject_of_run(run, data, open_pack)
        if path.is_dir() and not (path / "config.json").is_file():
            from trustseg.models.foreign import open_predictions

            _require_unused(options, f"'{path}', a folder of predictions", allowed="class_index")
            index = options.conventions.get("class_index")
            if index is not None and type(index) is not int:
                raise ConfigError(f"--convention class_index={index}: give the number of a class, such as 1")
            return _subject_of_predictions(path.absolute().name, open_predictions(path, class_index=index), open_pack)
        if is_exported(path):
            _require_unused(options, f"'{path}', which trustseg exported")
            return _subject_of_exported(path, open_pack)
    elif isinstance(source, str | Path) and ":" not in str(source):
        raise MissingFileError(f"no model or folder of predictions '{source}'; check the path")
    elif not isinstance(source, str | Path) and hasattr(source, "size") and hasattr(source, "channels"):
        _require_unused(options, "a callable that returns beliefs")
        return _subject_of_callable(source, open_pack)
    return _subject_of_foreign(source, options, open_pack)


def _require_unused(options: ModelOptions, what: str, *, allowed: str = "") -> None:
    """Raise a ConfigError if something is said of the input or output of what needs no such word."""
    given = {"--weights": options.weights is not None, "--take": options.output is not None}
    given |= {f"--convention {name}": name != allowed for name in options.conventions}
    if odd := [name for name, is_odd in given.items() if is_odd]:
        raise ConfigError(f"{' and '.join(odd)}: it is not known what this says of {what}; remove it")


def _open_pack(
    data: Path | str | Pack,
    options: ModelOptions,
    progress: ProgressCallback | None,
    **settings: Any,  # noqa: ANN401 - those of open_dataset
) -> Pack:
    if isinstance(data, Pack):
        return data
    if options.fit is not None:
        settings["fit"] = options.fit
    if options.size is not None:
        settings["size"] = options.size
    return open_dataset(data, progress=progress, **settings)


def _subject_of_run(folder: Path, data: Path | str | Pack, open_pack: _OpenPack) -> Subject:
    model, reading = load_model(folder), read_preprocessing(folder)
    spec = model.spec
    settings: dict[str, Any] = {"size": spec.size, "channels": spec.channels}
    if reading is not None:
        settings |= {"fit": reading.fit, "scale": reading.scale}
    facts = [f"A model of trustseg: {spec.architecture} on {spec.encoder}, {spec.head} head, {spec.size} px."]
    pack, seen = open_pack(**settings), read_training_record(folder)
    trained = data_of_run(folder) or DataConfig()
    if is_other_data(seen, pack, pack.folder if isinstance(data, Pack) else data, trained.path):
        trained = DataConfig()  # whose fold, if any, does not divide these images
        if seen is not None:
            facts.append(
                "These are not the data of its training: its patients and equal images are refused, near-copies are "
                "not looked for."
            )
    return Subject(
        name=folder.absolute().parent.name if folder.name == "model" else folder.absolute().name,
        pack=pack,
        facts=tuple(facts),
        digest=hash_of_model(model),
        model=model,
        gradients=True,
        seen=seen,
        data=trained,
    )


def _subject_of_exported(path: Path, open_pack: _OpenPack) -> Subject:
    """Return a file that ``trustseg export`` wrote: what it takes and returns is known."""
    exported = open_exported(path)
    known = exported.description
    spec = known.spec
    facts = (
        f"Exported by trustseg {known.version} ({known.precision}): {spec['architecture']} on {spec['encoder']}, "
        f"{spec['head']} head, {known.size} px.",
        "Its probability is audited, and the uncertainty that follows from it, not the evidence of a beta head.",
        "No gradients: it rounds images to 8 bits; audit the model's folder to attack it with them.",
    )
    return Subject(
        name=exported.name,
        pack=open_pack(size=known.size, channels=known.channels, fit=known.fit, scale=known.scale),
        facts=facts,
        digest=exported.digest,
        model=as_belief_model(ExportedBelief(exported)),
        seen=None if known.seen is None else parse_training_record(known.seen, where=str(path)),
    )


def _subject_of_callable(source: object, open_pack: _OpenPack) -> Subject:
    """Return a callable that says its size and channels, and returns beliefs."""
    sized: SizedModel = source  # type: ignore[assignment]  # has size and channels
    name = str(getattr(source, "name", type(source).__name__))
    model = as_belief_model(sized)
    pack = open_pack(size=sized.size, channels=sized.channels)
    gradients = bool(getattr(source, "gradients", isinstance(source, nn.Module)))
    facts = (
        f"A callable from Python that returns beliefs, {sized.size} px, {'grey' if sized.channels == 1 else 'colour'}.",
    )
    return Subject(name, pack, facts, hash_of_model(model), model, gradients=gradients)


def _subject_of_foreign(source: object, options: ModelOptions, open_pack: _OpenPack) -> Subject:
    from trustseg.models.foreign import ForeignModel, open_model

    network = open_model(source, weights=options.weights, trust_code=options.trust_code, output=options.output)
    size = options.size or network.facts.size or DEFAULT_SIZE
    pack = open_pack(size=size, channels=network.facts.channels or 3)
    findings, notes = _find_conventions(network, pack, options), []
    own = _size_of_all(pack)
    if not findings.finds and options.size is None and network.facts.size is None and own not in (None, pack.size):
        failed = f"at {pack.size} no convention finds the foreground (Dice at most {findings.tried[0][1]:.3f})"
        other = open_pack(size=own, channels=network.facts.channels or 3)
        try:
            at_own_size = _find_conventions(network, other, options)
        except ModelError as error:
            notes = [f"Measured at {pack.size} pixels, though {failed}: at {own}, the size of every image, {error}."]
        else:
            if at_own_size.finds:
                notes = [f"Measured at {own} pixels, the size of every image: {failed}."]
                pack, findings = other, at_own_size
    model = ForeignModel(network, findings.chosen)
    tried = [] if math.isnan(findings.tried[0][1]) else findings.describe(3)
    facts = (*notes, *model.description(), *findings.notes, *tried)
    return Subject(
        model.name,
        pack,
        facts,
        model.digest or hash_of_model(model),
        model,
        gradients=model.gradients,
        has_probability=model.conventions.output != "labels",
    )


def _find_conventions(network: "ForeignNetwork", pack: Pack, options: ModelOptions) -> "Findings":
    from trustseg.models.foreign import find_conventions

    labelled = (pack.index["has_mask"] & (pack.index["split"] != "control")).arg_true().to_numpy().astype(np.int64)
    rows = gallery_rows(pack, labelled, _SEARCHED) if len(labelled) else np.arange(min(_SEARCHED, len(pack)))
    images, masks = as_images(PackRows(pack, rows).__getitems__(range(len(rows))))
    return find_conventions(network, images, masks if len(labelled) else None, fixed=options.conventions)


def _size_of_all(pack: Pack) -> int | None:
    """Return the side of the images before they were fitted, if all are squares of one size that is not huge."""
    sides = {*pack.index["width"], *pack.index["height"]}
    return sides.pop() if len(sides) == 1 and max(sides) <= _LARGEST else None


def _subject_of_predictions(name: str, predictions: Maps, open_pack: _OpenPack) -> Subject:
    from trustseg.models.foreign import Predictions

    if not predictions:
        raise DataError("there are no predictions; give at least one probability map")
    height, width = np.shape(predictions[next(iter(predictions))])[-2:]
    pack = open_pack(size=max(height, width), fit="squash" if height == width else "pad")
    if not isinstance(predictions, Predictions):
        return Subject(name, pack, (), predictions=predictions)
    paired = predictions.paired(pack.index["name"].to_list())
    facts = tuple(paired.describe())
    return Subject(name, pack, facts, predictions=paired, has_probability=paired.kind == "probability")
