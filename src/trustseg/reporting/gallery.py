"""Cases: image, prediction and uncertainty, clean and attacked, as several variants see them."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trustseg.errors import DataError
from trustseg.reporting.cell_tables import at
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.drawing import save_figure
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition
from trustseg.reporting.results import Results

__all__ = [
    "PREDICTED_COLOUR",
    "REFERENCE_COLOUR",
    "Case",
    "Tile",
    "draw_case",
    "draw_contour",
    "draw_decomposition",
    "load_gallery",
    "write_cases",
]

_LAYERS: Final = (
    *("image", "mask", "probability", "uncertainty"),
    *("adversarial", "adversarial_probability", "adversarial_uncertainty"),
)
_PARTS: Final = ("variance", "aleatoric_variance", "epistemic_variance")
_ABSTAINED: Final = 0.05  # share of the pixels of the kept clean cases that are left to a human


@dataclass(frozen=True, slots=True)
class Tile:
    """One case as one variant sees it.

    Attributes:
        condition: the attack, in words.
        layers: name -> (H, W) float32; image and adversarial in [0, 1].
        dice: Dice on the clean image, NaN where undefined.
        abstained_above: pixels with a higher uncertainty are marked: the 95 % quantile over the pixels of the unchanged
            images of all recorded cases; infinite where it is not known.
        decomposition: total, aleatoric and epistemic variance, clean and then attacked (6, H, W); None for models
            that do not tell them apart.
        sent: whether the deferral policy sends the clean image to a human, and the attacked one; None without a policy.
    """

    variant: str
    condition: str
    measure: str
    layers: dict[str, NDArray[np.float32]]
    dice: float
    adversarial_dice: float
    abstained_above: float = math.inf
    decomposition: NDArray[np.float32] | None = None
    sent: tuple[bool | None, bool | None] = (None, None)

    def captions(self) -> list[tuple[float, str]]:
        """Return Dice and "sent to a human: yes or no" of the clean and of the attacked image."""
        answers = [{True: "yes", False: "no", None: "no policy"}[sent] for sent in self.sent]
        return list(zip((self.dice, self.adversarial_dice), answers, strict=True))


@dataclass(frozen=True, slots=True)
class Case:
    """One image with what each variant makes of it."""

    name: str
    rank: str
    tiles: tuple[Tile, ...]


def load_gallery(results: Results, decided: Mapping[str, pl.DataFrame] | None = None) -> list[Case]:
    """Return the worst, the median and the best case under attack, by mean Dice over the variants that kept it.

    Only cases with foreground are shown, if any was kept: without, one predicted pixel makes a Dice of 0. Cases that
    more variants kept come first; of each variant its first run counts. Cases with an undefined Dice, an empty mask and
    an empty prediction, are left out. Empty where no run kept any. ``decided`` holds what policies decided, by variant.
    """
    tiles: dict[str, dict[str, Tile]] = {}
    for cell in results.cells:
        for name, tile in _load(cell, (decided or {}).get(cell.variant)).items():
            tiles.setdefault(name, {}).setdefault(cell.variant, tile)
    most = max((len(views) for views in tiles.values()), default=0)
    shared = {name: views for name, views in tiles.items() if len(views) == most}
    positive = {name: views for name, views in shared.items() if next(iter(views.values())).layers["mask"].any()}
    dice = {
        name: float(np.mean([tile.adversarial_dice for tile in views.values()]))
        for name, views in (positive or shared).items()
    }
    order = sorted((name for name, value in dice.items() if not np.isnan(value)), key=lambda name: (dice[name], name))
    if not order:
        return []
    chosen = dict.fromkeys([order[0], order[len(order) // 2], order[-1]])
    ranks = ("worst", "median", "best") if len(chosen) == 3 else ("worst", "best")
    shown = {variant: place for place, variant in enumerate(results.variants)}
    return [
        Case(name, rank, tuple(sorted(tiles[name].values(), key=lambda tile: shown[tile.variant])))
        for name, rank in zip(chosen, ranks, strict=False)
    ]


def _load(cell: FinishedCell, decided: pl.DataFrame | None) -> dict[str, Tile]:
    path = cell.folder / "gallery.npz"
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        names = [str(name) for name in stored["name"]]
        layers = {name: stored[name].astype(np.float32) for name in _LAYERS}
        if stored["image"].dtype == np.uint8:  # whole grey levels
            layers["image"] /= 255
        threshold = float(np.quantile(layers["uncertainty"], 1 - _ABSTAINED, method="inverted_cdf"))
        parts = [prefix + part for prefix in ("", "adversarial_") for part in _PARTS]
        complete = set(parts) <= set(stored)
        decomposed = np.stack([stored[part].astype(np.float32) for part in parts], 1) if complete else None
        attacks, budgets = (np.broadcast_to(stored[name], len(names)).tolist() for name in ("condition", "eps"))
        keys: list[ConditionKey] = [(str(name), float(eps)) for name, eps in zip(attacks, budgets, strict=True)]
        return {
            name: Tile(
                variant=cell.variant,
                condition=describe_condition(keys[row]),
                measure=str(stored["measure"]),
                layers={layer: values[row] for layer, values in layers.items()},
                dice=float(stored["dice"][row]),
                adversarial_dice=float(stored["adversarial_dice"][row]),
                abstained_above=threshold,
                decomposition=None if decomposed is None else decomposed[row],
                sent=(_is_deferred(decided, cell.id, name, CLEAN), _is_deferred(decided, cell.id, name, keys[row])),
            )
            for row, name in enumerate(names)
        }
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise DataError(
            f"cannot read {path}: {error}; delete the file and report without it, or run the cell again"
        ) from error


def _is_deferred(decided: pl.DataFrame | None, cell: str, image: str, condition: ConditionKey) -> bool | None:
    if decided is None:
        return None
    found = decided.filter(pl.col("cell") == cell, pl.col("image") == image, at(condition))["review"]
    return bool(found[0]) if len(found) else None


_TITLES: Final = (
    "image",
    "prediction",
    "uncertainty",
    "change times 10",
    "attacked: prediction",
    "attacked: uncertainty",
)
_PART_TITLES: Final = tuple(f"{of}{part}" for of in ("", "attacked: ") for part in ("total", "aleatoric", "epistemic"))
REFERENCE_COLOUR: Final = "#00d5ff"
PREDICTED_COLOUR: Final = "#ff5db1"
_UNSURE: Final = "#ffd400"
_TILE_INCHES: Final = 1.45
_TITLE_INCHES: Final = 0.22
_STACKED: Final = 3  # columns of the pictures of a small screen
_MAGNIFIED: Final = 10.0


def draw_case(case: Case, *, dpi: int = 110, narrow: bool = False) -> bytes:
    """Return a case as JPEG, a quarter of a PNG's bytes; narrow: in three columns, for a small screen."""
    return _jpeg(_figure(case.tiles, _TITLES, _draw_tile, narrow=narrow), dpi)


def draw_decomposition(case: Case, *, dpi: int = 110, narrow: bool = False) -> bytes | None:
    """Return the variance maps of a case as JPEG, for the variants that tell them apart; None without any.

    The total and the aleatoric maps of a row share one scale from 0 to 1/4, the largest variance there is; the
    epistemic maps, far smaller, share one of their own, given in their corner.
    """
    tiles = [tile for tile in case.tiles if tile.decomposition is not None]
    return _jpeg(_figure(tiles, _PART_TITLES, _draw_parts, narrow=narrow), dpi) if tiles else None


def write_cases(cases: Sequence[Case], folder: Path) -> None:
    """Write each case as ``case_RANK.pdf`` and ``.png`` for print, and delete those of an earlier report."""
    for path in [*folder.glob("case_*.pdf"), *folder.glob("case_*.png")]:
        path.unlink()
    for case in cases:
        save_figure(_figure(case.tiles, _TITLES, _draw_tile), folder / f"case_{case.rank}")


def _jpeg(figure: Figure, dpi: int) -> bytes:
    figure.dpi = dpi
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_jpg(stream, pil_kwargs={"quality": 88, "subsampling": 0})  # type: ignore[no-untyped-call]  # matplotlib's
    return stream.getvalue()


def _figure(
    tiles: Sequence[Tile], titles: Sequence[str], draw: Callable[[Sequence[Axes], Tile], None], *, narrow: bool = False
) -> Figure:
    """Return a row of pictures below the name of each tile; narrow: three columns of them."""
    columns = _STACKED if narrow else len(titles)
    lines = math.ceil(len(titles) / columns)
    height, width = tiles[0].layers["image"].shape
    tall = _TILE_INCHES * min(2.0, max(0.5, height / width)) + _TITLE_INCHES
    with mpl.rc_context({"font.size": 9 if narrow else 8, "text.parse_math": False, "pdf.fonttype": 42}):
        figure = Figure((columns * _TILE_INCHES, len(tiles) * (lines * tall + _TITLE_INCHES)), layout="constrained")
        for tile, block in zip(tiles, figure.subfigures(len(tiles), squeeze=False)[:, 0], strict=True):
            block.suptitle(tile.variant, x=0.01, ha="left", weight="bold")
            axes = block.subplots(lines, columns, squeeze=False).ravel()
            for axis, title in zip(axes, titles, strict=True):
                axis.set_axis_off()
                axis.set_title(title, fontsize="medium", pad=4)
            draw(axes, tile)
    return figure


def _draw_tile(axes: Sequence[Axes], tile: Tile) -> None:
    layers = tile.layers
    # One scale for both maps of a variant: otherwise a change of uncertainty could not be seen.
    brightest = max(float(layers["uncertainty"].max()), float(layers["adversarial_uncertainty"].max()), 1e-6)
    change = 0.5 + _MAGNIFIED * (layers["adversarial"] - layers["image"])
    for place, grey in ((0, layers["image"]), (1, layers["image"]), (3, change), (4, layers["adversarial"])):
        axes[place].imshow(grey, cmap="gray", vmin=0, vmax=1, aspect="auto")
    for place, prefix in ((2, ""), (5, "adversarial_")):
        axes[place].imshow(layers[f"{prefix}uncertainty"], cmap="magma", vmin=0, vmax=brightest, aspect="auto")
    for place in (0, 1, 4):
        draw_contour(axes[place], layers["mask"], REFERENCE_COLOUR)
    for place, prefix, (dice, sent) in zip((1, 4), ("", "adversarial_"), tile.captions(), strict=True):
        unsure = np.where(layers[f"{prefix}uncertainty"] > tile.abstained_above, 1.0, np.nan)
        axes[place].imshow(unsure, cmap=ListedColormap([_UNSURE]), alpha=0.6, aspect="auto", interpolation="nearest")
        draw_contour(axes[place], layers[f"{prefix}probability"], PREDICTED_COLOUR)
        label = "Dice undefined" if np.isnan(dice) else f"Dice {dice:.2f}"
        _note(axes[place], label if sent == "no policy" else f"{label}\nto a human: {sent}")


def _draw_parts(axes: Sequence[Axes], tile: Tile) -> None:
    maps = np.asarray(tile.decomposition)
    brightest = max(float(maps[2::3].max()), 1e-9)
    for place, (axis, values) in enumerate(zip(axes, maps, strict=True)):
        top = brightest if place % 3 == 2 else 0.25
        axis.imshow(values, cmap="magma", vmin=0, vmax=top, aspect="auto")
        _note(axis, f"white: {top:.2g}")


def _note(axis: Axes, text: str) -> None:
    box = {"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1.5}
    axis.text(0.03, 0.04, text, color="white", fontsize=7, transform=axis.transAxes, bbox=box)


def draw_contour(axis: Axes, values: NDArray[np.float32], colour: str) -> None:
    """Draw the border between values up to and above 1/2; none for a map that lies on one side."""
    if min(values.shape) > 1 and values.min() <= 0.5 < values.max():
        axis.contour(values, levels=[0.5], colors=[colour], linewidths=1.1)
