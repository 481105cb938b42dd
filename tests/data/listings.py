"""What tests of layouts write into a folder, and what they ask of its listing."""

from pathlib import Path

from trustseg.data import Listing


def touch(root: Path, *names: str) -> Path:
    """Make empty files: a listing decodes nothing."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pairs(listing: Listing) -> dict[str, list[str]]:
    """Image -> masks, by file name."""
    return {case.image.name: [mask.name for mask in case.masks] for case in listing.cases if case.masks}


def paths(listing: Listing) -> dict[str, tuple[str, ...]]:
    """Image -> masks, by path."""
    return {image: listing.below(case.masks) for case in listing.cases for image in listing.below([case.image])}


def kinds(listing: Listing) -> set[str]:
    return {problem.kind for problem in listing.problems}


def sides(listing: Listing) -> dict[str, set[str]]:
    return {
        split: {case.name for case in listing.cases if case.split == split}
        for split in dict.fromkeys(case.split for case in listing.cases)
    }


def is_whole(listing: Listing) -> bool:
    return not (listing.problems or listing.unpaired_images or listing.unpaired_masks or listing.passed_over)
