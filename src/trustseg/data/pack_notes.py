"""What a user should know of how images and masks were read: sentences without file names, told once per dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence

from trustseg.data.pack_cases import CaseScan, Decisions, PackedCase
from trustseg.data.reading import PackOptions

__all__ = ["lost_lesions", "pack_notes", "scan_notes"]


def pack_notes(
    scans: Sequence[CaseScan], packed: Sequence[PackedCase], decisions: Decisions, options: PackOptions
) -> list[str]:
    """Return what was done to the files of a pack, in sentences."""
    return [*scan_notes(scans, decisions, options), *_mask_notes(packed, options)]


def scan_notes(scans: Sequence[CaseScan], decisions: Decisions, options: PackOptions) -> list[str]:
    """Return what the first pass tells: decoding, intensity, colour, size and coding of the masks."""
    return [*_image_notes(scans, decisions, options), *_size_notes(scans, options), *decisions.coding.notes]


def lost_lesions(lost: int, lesions: int, size: int) -> str:
    """Return the sentence for lesions that are smaller than a pixel of the pack."""
    return (
        f"the lesions of {lost:,} of {_counted(lesions, 'image')} vanish at {size}x{size} pixels: their masks become "
        "empty; choose a larger data.size"
    )


def _image_notes(scans: Sequence[CaseScan], decisions: Decisions, options: PackOptions) -> Iterator[str]:
    noted = Counter(note for scan in scans for note in scan.image.notes)
    noted.update(note for scan in scans for mask in scan.masks for note in mask.notes)
    yield from (f"{_counted(count, 'file')}: {note}" for note, count in sorted(noted.items()))
    deep = [scan for scan in scans if scan.image.level is not None]
    if decisions.scale.notes:
        yield from decisions.scale.notes
    elif deep:
        white = decisions.scale.white
        yield f"{_counted(len(deep), 'image')} of more than 8 bits: 0 to {white} became 0 to 255, as in training"
        if bright := sum(scan.image.highest > (white or 0) for scan in deep):
            yield f"{_counted(bright, 'image')} with values above {white}, which were clipped"
    coloured = sum(scan.image.coloured for scan in scans)
    if coloured and options.channels == 1:
        yield f"{_counted(coloured, 'image')} with colours became grey levels (luminance); data.channels=3 keeps them"


def _size_notes(scans: Sequence[CaseScan], options: PackOptions) -> Iterator[str]:
    ratios = [scan.width / scan.height for scan in scans if scan.width != scan.height]
    if ratios:
        what = f"{_counted(len(ratios), 'image')} not square (width / height {min(ratios):.2f} to {max(ratios):.2f})"
        yield (
            f"{what}: squashed to {options.size}x{options.size} pixels; data.fit=pad keeps the aspect ratio"
            if options.fit == "squash"
            else f"{what}: padded to {options.size}x{options.size} pixels; the padding does not count"
        )
    small = sum(max(scan.width, scan.height) < options.size for scan in scans)
    if small:
        yield f"{_counted(small, 'image')} smaller than {options.size}x{options.size} pixels, enlarged"
    several = sum(len(scan.masks) > 1 for scan in scans)
    if several:
        yield f"{_counted(several, 'image')} with several masks, which were united"
    without = sum(not scan.masks for scan in scans)
    if without:
        yield f"{_counted(without, 'image')} without a reference mask (not the same as an empty one)"


def _mask_notes(packed: Sequence[PackedCase], options: PackOptions) -> Iterator[str]:
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
        yield lost_lesions(lost, len(lesions), options.size)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
