"""Shifts: images as another device, hospital or day would have given them, by name and severity 1 to 5.

``SHIFTS`` (images, severity, generator) -> images change grey levels only. ``GEOMETRIC_SHIFTS`` (images, masks,
severity, generator) -> (images, masks) move the mask along. ``shift`` takes a name of either, or an operator of nrtk
(``nrtk_shift``). The parameter of each severity is frozen in ``SHIFT_TABLE``; the docstrings give its range. The
following holds for all of them.

Args:
    images: (B, C, H, W) float32 in [0, 1]; not written to.
    masks: of a geometric shift, reference masks (B, 1, H, W) float32 in {0, 1}.
    severity: 1 (barely visible) to 5 (severe, still readable).
    generator: source of all random numbers. Each image draws its own, one image after the other, so that the size of
        batches does not matter; same seed, same bits. Random fields are drawn for the largest severity and reused, so
        the same seed gives a milder and a stronger version of the same change. A shift whose docstring names nothing
        random draws nothing.

Returns:
    (B, C, H, W) in [0, 1], and of a geometric shift the masks (B, 1, H, W) in {0, 1}, moved the same way.

Raises:
    ConfigError: if ``severity`` is not 1 to 5.
    ShapeError: if ``images`` is not float32 (B, C, H, W), or ``masks`` of a geometric shift do not fit.

Reference:
    *Hendrycks* is Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", ICLR 2019, arXiv:1903.12261. Severities are our own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from trustseg.entries import Entry
from trustseg.errors import unknown_name
from trustseg.shifts import detector, display, foreign, geometry, grey_levels, sharpness
from trustseg.shifts.nrtk_operators import NRTK, nrtk_shift
from trustseg.shifts.table import SHIFT_TABLE, SHIFT_TABLE_VERSION, severities

__all__ = [
    "GEOMETRIC_SHIFTS",
    "NRTK",
    "SHIFTS",
    "SHIFT_TABLE",
    "SHIFT_TABLE_VERSION",
    "Shift",
    "ShiftFacts",
    "nrtk_shift",
    "severities",
    "shift",
    "shift_and_share",
    "shift_names",
]


class Shift(Protocol):
    """The protocol of a shift of grey levels; the contract is written in ``trustseg.shifts``."""

    def __call__(self, images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
        """Return shifted images (B, C, H, W) in [0, 1]; same seed, same bits, and nothing is written to."""


@dataclass(frozen=True, slots=True)
class ShiftFacts:
    """Facts about a shift for evaluation.

    Attributes:
        cover: if it draws something opaque: the function that draws its opacity, and the one that lays that over
            images.
        extended: whether the word ``all`` of a configuration leaves it out, so that it still means what it meant in
            the studies published before there was this shift.
    """

    cover: tuple[Shift, Callable[[Tensor, Tensor], Tensor]] | None = None
    extended: bool = False


_EXTENDED: Final = ShiftFacts(extended=True)

SHIFTS: Final[Mapping[str, Entry[Tensor, ShiftFacts]]] = {
    "gaussian_noise": Entry(grey_levels.gaussian_noise, "Gaussian noise", ShiftFacts()),
    "low_dose": Entry(grey_levels.low_dose, "low dose", ShiftFacts()),
    "speckle": Entry(grey_levels.speckle, "speckle", ShiftFacts()),
    "gaussian_blur": Entry(sharpness.gaussian_blur, "Gaussian blur", ShiftFacts()),
    "motion_blur": Entry(sharpness.motion_blur, "motion blur", ShiftFacts()),
    "gamma_up": Entry(grey_levels.gamma_up, "gamma up", ShiftFacts()),
    "gamma_down": Entry(grey_levels.gamma_down, "gamma down", ShiftFacts()),
    "contrast_up": Entry(grey_levels.contrast_up, "contrast up", ShiftFacts()),
    "contrast_down": Entry(grey_levels.contrast_down, "contrast down", ShiftFacts()),
    "brightness_up": Entry(grey_levels.brightness_up, "brightness up", ShiftFacts()),
    "brightness_down": Entry(grey_levels.brightness_down, "brightness down", ShiftFacts()),
    "vignette": Entry(grey_levels.vignette, "vignette", ShiftFacts()),
    "collimation": Entry(
        grey_levels.collimation,
        "collimation",
        ShiftFacts((grey_levels.collimation_cover, grey_levels.collimation_over)),
    ),
    "jpeg": Entry(sharpness.jpeg, "JPEG", ShiftFacts()),
    "low_resolution": Entry(sharpness.low_resolution, "low resolution", ShiftFacts()),
    "text_markers": Entry(
        foreign.text_markers, "text markers", ShiftFacts((foreign.text_markers_cover, foreign.text_markers_over))
    ),
    "leads": Entry(foreign.leads, "leads", ShiftFacts((foreign.leads_cover, foreign.leads_over))),
    "scatter": Entry(detector.scatter, "scatter", _EXTENDED),
    "grid_lines": Entry(detector.grid_lines, "grid lines", _EXTENDED),
    "grid_cutoff": Entry(detector.grid_cutoff, "grid cutoff", _EXTENDED),
    "dead_columns": Entry(
        detector.dead_columns,
        "dead columns",
        ShiftFacts((detector.dead_columns_cover, detector.dead_columns_over), extended=True),
    ),
    "dead_pixels": Entry(detector.dead_pixels, "dead pixels", _EXTENDED),
    "row_noise": Entry(detector.row_noise, "row noise", _EXTENDED),
    "tile_gain": Entry(detector.tile_gain, "tile gain", _EXTENDED),
    "double_exposure": Entry(detector.double_exposure, "double exposure", _EXTENDED),
    "edge_enhancement": Entry(display.edge_enhancement, "edge enhancement", _EXTENDED),
    "few_grey_levels": Entry(display.few_grey_levels, "few grey levels", _EXTENDED),
    "moire": Entry(display.moire, "moire", _EXTENDED),
    "glare": Entry(display.glare, "glare", _EXTENDED),
    "jpeg_chain": Entry(sharpness.jpeg_chain, "JPEG chain", _EXTENDED),
    "clothing": Entry(foreign.clothing, "clothing", _EXTENDED),
    "tubes": Entry(foreign.tubes, "tubes", _EXTENDED),
    "implant": Entry(
        foreign.implant, "implant", ShiftFacts((foreign.implant_cover, foreign.implant_over), extended=True)
    ),
}

GEOMETRIC_SHIFTS: Final[Mapping[str, Entry[tuple[Tensor, Tensor], ShiftFacts]]] = {
    "rotation": Entry(geometry.rotation, "rotation", ShiftFacts()),
    "translation": Entry(geometry.translation, "translation", ShiftFacts()),
    "magnification": Entry(geometry.magnification, "magnification", _EXTENDED),
    "portable_tilt": Entry(geometry.portable_tilt, "portable tilt", _EXTENDED),
    "stitching": Entry(geometry.stitching, "stitching", _EXTENDED),
}


def shift_names(*words: str) -> tuple[str, ...]:
    """Return names of shifts: ``all`` and ``extended`` written out, everything else as it is, none twice.

    ``all`` stands for the shifts that are not ``extended``, ``extended`` for these as well.

    Example:
        >>> len(shift_names("all")), len(shift_names("jpeg", "extended", "jpeg")), shift_names("jpeg", "moire")
        (19, 38, ('jpeg', 'moire'))
    """
    facts = {name: entry.facts for entries in (SHIFTS, GEOMETRIC_SHIFTS) for name, entry in entries.items()}
    groups = {"all": [name for name in facts if not facts[name].extended], "extended": [*facts]}
    return tuple(dict.fromkeys(name for word in words for name in groups.get(word, [word])))


def shift(name: str, images: Tensor, masks: Tensor, severity: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return shifted images, and the masks that belong to them: as given unless the shift is geometric.

    Raises:
        UnknownNameError: if there is no shift of that name.

    Example:
        >>> images, masks = torch.full((1, 1, 2, 2), 0.5), torch.ones(1, 1, 2, 2)
        >>> brighter, same = shift("brightness_up", images, masks, 3, torch.Generator())
        >>> brighter[0, 0, 0], same is masks
        (tensor([0.6300, 0.6300]), True)
    """
    if name.startswith(NRTK):
        return nrtk_shift(name)(images, severity, generator), masks
    if name not in SHIFTS and name not in GEOMETRIC_SHIFTS:
        raise unknown_name("shift", name, [*SHIFTS, *GEOMETRIC_SHIFTS])
    with torch.autocast(images.device.type, enabled=False):  # half precision has fewer levels than an image
        if name in GEOMETRIC_SHIFTS:
            return GEOMETRIC_SHIFTS[name](images, masks, severity, generator)
        return SHIFTS[name](images, severity, generator), masks


def shift_and_share(
    name: str, images: Tensor, masks: Tensor, severity: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result of ``shift`` and the share (B,) of each mask that it hides, from one drawing.

    Of the pixels of the masks as given, those covered by more than half count; 0 for a shift that covers nothing, NaN
    for an empty mask.

    Example:
        >>> images, masks = torch.rand(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
        >>> shift_and_share("jpeg", images, masks, 3, torch.Generator())[2]
        tensor([0.])
    """
    cover_of = SHIFTS[name].facts.cover if name in SHIFTS else None
    if cover_of is None:
        shifted, moved = shift(name, images, masks, severity, generator)
        return shifted, moved, _share(torch.zeros_like(masks), masks)
    draw, lay = cover_of
    with torch.autocast(images.device.type, enabled=False):
        cover = draw(images, severity, generator)
        return lay(images, cover), masks, _share(cover, masks)


def _share(cover: Tensor, masks: Tensor) -> Tensor:
    """Return the share (B,) of mask pixels under a cover (B, 1, H, W) of more than half; NaN for an empty mask."""
    lesion = masks > 0
    return ((cover > 0.5) & lesion).sum(dim=(1, 2, 3)) / lesion.sum(dim=(1, 2, 3))
