"""What a user should know of how images and masks were read: sentences without file names, told once per dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence

from trustseg.data.intensity import ImageScan, IntensityScale
from trustseg.data.pack_cases import CaseScan, Decisions, PackedCase
from trustseg.data.reading import PackOptions

__all__ = ["image_notes", "pack_notes"]


def pack_notes(
    scans: Sequence[CaseScan], packed: Sequence[PackedCase], decisions: Decisions, options: PackOptions
) -> list[str]:
    """Return what was done to the files of a pack, in sentences."""
    sizes = [(scan.width, scan.height) for scan in scans]
    return [
        *image_notes([scan.image for scan in scans], sizes, decisions.scale, options),
        *decisions.coding.notes,
        *_mask_notes(scans, packed, options),
    ]


def image_notes(
    images: Sequence[ImageScan], sizes: Sequence[tuple[int, int]], scale: IntensityScale, options: PackOptions
) -> Iterator[str]:
    """Yield what was done to images: decoding, intensity, colour and size.

    Args:
        images: the images.
        sizes: (width, height) of each, in its own pixels.
        scale: the intensity scale that is used; without notes if it was decided for other images.
        options: size, channels and fit.
    """
    noted = Counter(note for image in images for note in image.notes)
    yield from (f"{_counted(count, 'image')}: {note}" for note, count in sorted(noted.items()))
    yield from _intensity_notes(images, scale)
    coloured = sum(image.coloured for image in images)
    if coloured and options.channels == 1:
        yield f"{_counted(coloured, 'image')} with colours became grey levels (luminance); data.channels=3 keeps them"
    square = f"{options.size}x{options.size} pixels"
    ratios = [width / height for width, height in sizes if width != height]
    if ratios:
        what = f"{_counted(len(ratios), 'image')} not square (width / height {min(ratios):.2f} to {max(ratios):.2f})"
        yield (
            f"{what}: squashed to {square}; data.fit=pad keeps the aspect ratio"
            if options.fit == "squash"
            else f"{what}: padded to {square}; the padding does not count"
        )
    if small := sum(max(sides) < options.size for sides in sizes):
        yield f"{_counted(small, 'image')} smaller than {square}, enlarged"


def _intensity_notes(images: Sequence[ImageScan], scale: IntensityScale) -> Iterator[str]:
    deep = [image for image in images if image.level is not None]
    if scale.notes or not deep:
        yield from scale.notes
        return
    yield f"{_counted(len(deep), 'image')} of more than 8 bits: 0 to {scale.white} became 0 to 255, as in training"
    if bright := sum(image.highest > (scale.white or 0) for image in deep):
        yield f"{_counted(bright, 'image')} with values above {scale.white}, which were clipped"


def _mask_notes(scans: Sequence[CaseScan], packed: Sequence[PackedCase], options: PackOptions) -> Iterator[str]:
    noted = Counter(note for scan in scans for mask in scan.masks for note in mask.notes)
    yield from (f"{_counted(count, 'mask')}: {note}" for note, count in sorted(noted.items()))
    if several := sum(len(scan.masks) > 1 for scan in scans):
        yield f"{_counted(several, 'image')} with several masks, which were united"
    if without := sum(not scan.masks for scan in scans):
        yield f"{_counted(without, 'image')} without a reference mask (not the same as an empty one)"
    ignored = [one.ignored for one in packed if one.ignored]
    if ignored:
        share = sum(ignored) / len(ignored)
        yield (
            f"{_counted(len(ignored), 'mask')} with ignored pixels ({share:.1%} of each on average), left out of "
            "losses and metrics"
        )
    lesions = [one for one in packed if one.foreground_native]
    lost = sum(one.foreground == 0 for one in lesions)
    if lost:
        yield (
            f"the lesions of {lost:,} of {_counted(len(lesions), 'image')} vanish at {options.size}x{options.size} "
            "pixels: their masks become empty; choose a larger data.size"
        )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
