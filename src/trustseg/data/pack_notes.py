"""Notes on how images and masks were read: sentences without file names, once per dataset."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from trustseg.data.intensity import ImageScan, IntensityScale, blank
from trustseg.data.mask_coding import MaskScan
from trustseg.data.pack_cases import CaseScan
from trustseg.data.reading import PackOptions
from trustseg.text import plural

__all__ = ["BLANK", "blank_note", "decoding_notes", "image_notes", "mask_notes"]

BLANK: Final = ("images of a single grey level or colour", "nothing can be seen in them; export them again")


def decoding_notes(scans: Sequence[ImageScan | MaskScan], noun: str) -> dict[str, tuple[str, ...]]:
    """Return what was done while files were decoded: sentences, each with the names of its files."""
    noted: defaultdict[str, list[str]] = defaultdict(list)
    for scan in scans:
        for note in scan.notes:
            noted[note].append(scan.path.name)
    return {f"{plural(len(names), noun)}: {note}": tuple(names) for note, names in sorted(noted.items())}


def image_notes(images: Sequence[ImageScan], scale: IntensityScale, options: PackOptions) -> Iterator[str]:
    """Yield what is done to images (intensity, colour and size); ``scale`` has no notes if others decided it."""
    deep = [image for image in images if image.level is not None]
    yield from scale.notes
    if deep and not scale.notes:
        yield f"{plural(len(deep), 'image')} of more than 8 bits: 0 to {scale.white} became 0 to 255, as in training"
        if bright := sum(image.highest > (scale.white or 0) for image in deep):
            yield f"{plural(bright, 'image')} with values above {scale.white}, which were clipped"
    coloured = sum(image.coloured for image in images)
    if coloured and options.channels == 1:
        yield f"{plural(coloured, 'image')} with colours became grey levels (luminance); data.channels=3 keeps them"
    elif options.channels == 3 and coloured < len(images):
        yield f"{plural(len(images) - coloured, 'grey image')} with three equal channels; data.channels=1 saves them"
    square, sizes = f"{options.size}x{options.size} pixels", [image.size for image in images]
    resized = sum(pair != (options.size, options.size) for pair in sizes)
    if resized:
        yield f"{resized:,} of {plural(len(sizes), 'image')} resized to {square}"
    ratios = [width / height for width, height in sizes if width != height]
    if ratios:
        what = f"{plural(len(ratios), 'image')} not square (width / height {min(ratios):.2f} to {max(ratios):.2f})"
        yield (
            f"{what}: squashed to {square} (data.fit=squash), which changes the aspect ratio"
            if options.fit == "squash"
            else f"{what}: padded to {square}; the padding does not count"
        )
    if small := sum(max(sides) < options.size for sides in sizes):
        yield f"{plural(small, 'image')} smaller than {square}, enlarged"


def blank_note(images: Sequence[ImageScan], scale: IntensityScale) -> Iterator[str]:
    """Yield how many images are blank, if any is."""
    if found := blank(images, scale):
        what, advice = BLANK
        yield f"{what}: {len(found):,} of {len(images):,}; {advice}"


def mask_notes(scans: Sequence[CaseScan]) -> Iterator[str]:
    """Yield what is to know of reference masks: united ones, missing ones, ignored pixels."""
    if several := sum(len(scan.masks) > 1 for scan in scans):
        yield f"{plural(several, 'image')} with several masks, which were united"
    references = [scan.reference for scan in scans if scan.reference]
    if without := len(scans) - len(references):
        yield f"{plural(without, 'image')} without a reference mask (not the same as an empty one)"
    if ignored := [one.ignored / one.pixels for one in references if one.ignored]:
        share = sum(ignored) / len(ignored)
        yield (
            f"{plural(len(ignored), 'mask')} with ignored pixels ({share:.1%} of each on average), left out of "
            "losses and metrics"
        )
