"""Where a model is unsure, and why: total variance, its aleatoric and its epistemic part, clean and attacked."""

import io
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trustseg.reporting.gallery import Case

__all__ = ["draw_decomposition"]

_TITLES: Final = ("total", "aleatoric", "epistemic")
_TILE_INCHES: Final = 1.45
_GAP_INCHES: Final = 0.05
_LABEL_INCHES: Final = 0.85
_TITLE_INCHES: Final = 0.22


def draw_decomposition(case: Case, *, dpi: int = 110) -> bytes | None:
    """Return the variance maps of a case as JPEG, one row for each variant that tells them apart; None without any.

    The total and the aleatoric maps of a row share one scale from 0 to 1/4, the largest variance there is; the
    epistemic maps, far smaller, share one of their own, told beside them.

    Args:
        case: what to draw.
        dpi: dots an inch.
    """
    tiles = [tile for tile in case.tiles if tile.decomposition is not None]
    if not tiles:
        return None
    height, width = tiles[0].layers["image"].shape
    tall = _TILE_INCHES * min(2.0, max(0.5, height / width))
    columns = 2 * len(_TITLES)
    inches = (_LABEL_INCHES + columns * (_TILE_INCHES + _GAP_INCHES), _TITLE_INCHES + len(tiles) * (tall + _GAP_INCHES))
    with mpl.rc_context({"font.size": 8, "text.parse_math": False}):
        figure = Figure(figsize=inches)
        FigureCanvasAgg(figure)
        for row, tile in enumerate(tiles):
            maps = np.asarray(tile.decomposition)
            brightest = max(float(maps[2::3].max()), 1e-9)
            bottom = (len(tiles) - 1 - row) * (tall + _GAP_INCHES) + _GAP_INCHES
            for column, values in enumerate(maps):
                left = _LABEL_INCHES + column * (_TILE_INCHES + _GAP_INCHES)
                box = (left / inches[0], bottom / inches[1], _TILE_INCHES / inches[0], tall / inches[1])
                axis = figure.add_axes(box)
                top = brightest if column % 3 == 2 else 0.25
                axis.imshow(values, cmap="magma", vmin=0, vmax=top, aspect="auto")
                axis.set_axis_off()
                text = f"white: {top:.2g}"
                patch = {"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1.5}
                axis.text(0.03, 0.04, text, color="white", fontsize=7, transform=axis.transAxes, bbox=patch)
                if row == 0:
                    axis.set_title(("attacked: " if column > 2 else "") + _TITLES[column % 3], fontsize=8, pad=4)
            label = tile.variant.replace(", ", ",\n")
            figure.text(0.0, (bottom + tall / 2) / inches[1], label, va="center", linespacing=1.4)
        stream = io.BytesIO()
        figure.savefig(stream, format="jpeg", dpi=dpi, pil_kwargs={"quality": 88, "subsampling": 0})
    return stream.getvalue()
