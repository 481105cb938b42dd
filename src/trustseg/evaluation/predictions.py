"""The tables of an evaluation from predictions alone, without the model that made them."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from trustseg.beliefs import Bernoulli
from trustseg.config import EvaluationConfig
from trustseg.data import Pack
from trustseg.data.pack_cases import release
from trustseg.data.resizing import IGNORED, resize_image
from trustseg.errors import DataError
from trustseg.evaluation.conditions import CLEAN
from trustseg.evaluation.measuring import cohort_of
from trustseg.evaluation.records import TABLES, Recorder
from trustseg.files import write_json
from trustseg.masks import compact, ignoring
from trustseg.metrics import dice
from trustseg.progress import ProgressCallback
from trustseg.tables import write_parquet

__all__ = ["evaluate_predictions", "fitted_map"]

_SUREST: Final = 100.0  # log-odds of a probability of exactly 1, whose cross-entropy would be infinite
_LEVELS: Final = 65535  # of a map while it is resized
_BATCH: Final = 8  # images of usual size whose maps stay in the cache of a processor
_READ: Final = 64  # reference masks that are read, then released, at a time


def evaluate_predictions(
    predictions: Mapping[str, NDArray[np.float32]],
    pack: Pack,
    rows: NDArray[np.int64],
    config: EvaluationConfig,
    folder: Path,
    *,
    report: ProgressCallback | None = None,
) -> str:
    """Write the tables that ``evaluate`` writes of clean images, and return a hash of all predictions.

    Args:
        predictions: name of a case -> foreground probability (H, W), of the size of the image itself or of the pack.
            A map of the image's size is resized as the image was; its native Dice is that of the map as it is.

    Raises:
        DataError: if a case has no prediction, or one of another size, or with other values than probabilities.
    """
    cohort = cohort_of(pack, rows, device="cpu")
    recorder = Recorder(CLEAN, config, groups=sorted(cohort.cases["group"].unique()), device=cohort.device)
    digest, native_dices, done = hashlib.sha256(), list[float](), 0
    natives = None if _at_own_size(pack, rows) else _natives(pack, rows)
    for cases in cohort.cases.iter_slices(_BATCH):
        masks = ignoring(torch.from_numpy(pack.masks[rows[done : done + len(cases)]]), IGNORED)
        unchanged = torch.zeros(()).expand(masks.shape)  # of the images only their change would be looked at
        maps = [_map_of(predictions, name) for name in cases["name"]]
        for values in maps:
            digest.update(values.tobytes())
        squares = [fitted_map(values, pack, int(rows[done + place])) for place, values in enumerate(maps)]
        belief = Bernoulli(torch.from_numpy(_log_odds(np.stack(squares)))[:, None])
        recorder.add(belief, unchanged, masks, cases, changed=unchanged)
        if natives is not None:
            native_dices += [_native_dice(values, next(natives)) for values in maps]
        done += len(maps)
        if done % _READ == 0:
            release(pack.masks)
        if report is not None:
            report(done, len(rows))
    tables = recorder.tables()
    known = pl.col("dice") if natives is None else pl.Series(native_dices, dtype=pl.Float64)
    has_mask = pl.col("reference") == "mask"
    tables["records"] = tables["records"].with_columns(pl.when(has_mask).then(known).alias("dice_native"))
    for table in TABLES:
        write_parquet(tables[table], folder / f"{table}.parquet")
    write_json(folder / "evaluation.json", {"model": digest.hexdigest()[:16]})
    return digest.hexdigest()


def _map_of(predictions: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    """Return the map of a case after checking its values."""
    if name not in predictions:
        raise DataError(f"there is no prediction for the case '{name}'; predict it, or audit a split without it")
    values = np.ascontiguousarray(predictions[name], np.float32)
    if values.ndim != 2 or not bool(((values >= 0) & (values <= 1)).all()):
        raise DataError(
            f"the prediction of the case '{name}' is no map (H, W) of probabilities in [0, 1]: it "
            f"has the shape {values.shape} and values from {values.min():g} to {values.max():g}"
        )
    return values


def fitted_map(values: NDArray[np.float32], pack: Pack, row: int) -> NDArray[np.float32]:
    """Return a map in the square of the pack."""
    if values.shape == (pack.size, pack.size):
        return values
    case = pack.index.row(row, named=True)
    height, width = int(case.get("height", pack.size)), int(case.get("width", pack.size))
    if values.shape != (height, width):
        raise DataError(
            f"the prediction of the case '{case['name']}' has {values.shape[1]} x {values.shape[0]} pixels, its image "
            f"{width} x {height}; write predictions at the size of the images"
        )
    levels = np.rint(values.astype(np.float64) * _LEVELS).astype(np.uint16)
    return (resize_image(levels, pack.size, pack.fit) / np.float32(_LEVELS)).astype(np.float32)


def _log_odds(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        odds: NDArray[np.float32] = np.log(probability) - np.log1p(-probability)
    return odds.clip(-_SUREST, _SUREST)


def _at_own_size(pack: Pack, rows: NDArray[np.int64]) -> bool:
    """Return whether no image of a pack on the disk was resized."""
    sides = pack.index[rows.tolist()].select("width", "height") if pack.folder is not None else None
    return sides is not None and bool((sides == pack.size).to_numpy().all())


def _natives(pack: Pack, rows: NDArray[np.int64]) -> Iterator[Tensor | None]:
    """Yield reference masks (H, W) at the size of the images, None where there is none: of a pack in memory, say."""
    for start in range(0, len(rows), _READ):
        places = rows[start : start + _READ].tolist()
        for mask in [None] * len(places) if pack.folder is None else pack.native_masks(places):
            yield None if mask is None else compact(ignoring(torch.from_numpy(mask), IGNORED))


def _native_dice(values: NDArray[np.float32], mask: Tensor | None) -> float:
    """Return the Dice at the size of the image itself; NaN where the map has another size or there is no mask."""
    if mask is None or mask.shape != values.shape:
        return float("nan")
    return float(dice(torch.from_numpy(values > 0.5)[None, None], mask[None, None]))
