"""Near-copies: equal pixels, or the same film re-encoded, resized or re-windowed.

Every image is reduced to a thumbnail, which serves as its perceptual hash. Thumbnails are compared by normalised
correlation, so that brightness, contrast and polarity do not matter: first at 16 x 16, which leaves a few candidates,
then the fine structure of the candidates (thumbnail minus its blur) at 16 x 16 and at 32 x 32, and last the ranks of
their grey levels, which no window changes. Chest radiographs look alike when they are small; their fine structure does
not. Where an outline is all that is fine (sections, eyes), ranks tell what lies inside; images that are smooth
everywhere cannot be told apart when they are small, and are no near-copies. All of it is done once for whole images
and once for what is left without a uniform border.

Thresholds: on the 9,258 films of QaTa-COV19-v2, re-encoded (JPEG 20), resized (0.33 to 2.3), blurred, noisy or mildly
re-windowed copies (gamma 0.6 to 1.6) reach 0.93 in both fine structures and 0.98 in ranks (but for one in a hundred),
while no two films of the two sides but one pair, the same film twice, exceed 0.90 in fine structure. Drawn sections of
one outline stay below 0.97 in ranks. Cropped, rotated, mirrored or strongly equalised copies are not found, nor those
blurred by more than 2 % of their side (standard deviation). Without borders, 7 further pairs of QaTa are found, all of
them the same film.
"""

import hashlib
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from trustseg.data.patients import connected
from trustseg.text import plural

__all__ = ["content_groups", "content_hash", "left_out", "near_copies", "thumbnail"]

Floats = npt.NDArray[np.float32]

_SIDE: Final = 32
_COARSE: Final = 0.95  # correlation of the 16 x 16 thumbnails of candidates
_FINE: Final = 0.92  # correlation of the fine structure of near-copies, at 16 x 16 and at 32 x 32
_RANKS: Final = 0.983  # rank correlation of near-copies, at 32 x 32
_STRUCTURE: Final = 0.12  # of the contrast of a thumbnail, at least, is fine structure; 999 of 1,000 films of QaTa
_BORDER: Final = 0.03  # of the range of grey levels, at most, is the range within each line of a border
_WIDEST: Final = 4  # a border takes at most a quarter of the lines, from each side
_BLUR: Final = 1.5  # standard deviation in thumbnail pixels
_BLOCK: Final = 1024  # images compared with all others at a time: 40 MB for 10,000 images


def content_hash(pixels: npt.NDArray[np.generic], *, inverted: bool = False) -> str:
    """Return a SHA-256 of decoded pixels; grey stored as three equal channels counts as grey.

    It is the same for every file that decodes to the same pixels, whatever its format and compression.

    Args:
        pixels: (H, W) or (H, W, C) values as they were decoded, before resizing.
        inverted: whether 0 is white, which tells an image from its negative.

    Example:
        >>> grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
        >>> content_hash(grey) == content_hash(np.stack([grey] * 3, axis=-1)) != content_hash(grey.T)
        True
    """
    if pixels.ndim == 3 and bool((pixels == pixels[..., :1]).all()):
        pixels = pixels[..., 0]
    digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype}{' inverted' * inverted}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def thumbnail(pixels: npt.NDArray[np.generic]) -> Floats:
    """Return an image (H, W) or (H, W, C) squashed to 32 x 32 greys, whole and without its border, (2, 32, 32)."""
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=-1, dtype=np.float32)
    whole = _squashed(pixels)
    inner = _without_border(pixels)
    return np.stack([whole, whole if inner.shape == pixels.shape else _squashed(inner)])


def _squashed(pixels: npt.NDArray[np.generic]) -> Floats:
    picture = Image.fromarray(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32))
    return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)


def _without_border(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an image (H, W) without the lines at its edges that are of one grey."""
    most = _BORDER * (float(pixels.max()) - float(pixels.min()))

    def width(lines: npt.NDArray[Any]) -> int:
        flat = (float(line.max()) - float(line.min()) <= most for line in lines[: len(lines) // _WIDEST])
        return sum(1 for _ in takewhile(bool, flat))

    top, bottom, left, right = map(width, (pixels, pixels[::-1], pixels.T, pixels.T[::-1]))
    return pixels[top : len(pixels) - bottom, left : pixels.shape[1] - right]


def near_copies(thumbnails: Floats) -> list[tuple[int, int]]:
    """Return the pairs of images (i, j), i < j, that show the same picture, by their thumbnails (N, 2, 32, 32).

    Time grows with N^2; 10,000 images take about two seconds.
    """
    if len(thumbnails) < 2:
        return []
    whole, inner = thumbnails[:, 0], thumbnails[:, 1]
    bordered = (whole != inner).any(axis=(1, 2))
    first = np.argsort(~bordered, kind="stable")  # those with a border come first: no others need a second look
    again = {(int(first[i]), int(first[j])) for i, j in _copies(inner[first], int(bordered.sum()))}
    return sorted({*_copies(whole, len(whole)), *((min(pair), max(pair)) for pair in again)})


def _copies(thumbnails: Floats, count: int) -> list[tuple[int, int]]:
    """Return the near-copies (i, j), i < j, of the first ``count`` of thumbnails (N, 32, 32)."""
    halves = thumbnails.reshape(-1, _SIDE // 2, 2, _SIDE // 2, 2).mean(axis=(2, 4))
    fine = _fine(thumbnails)
    smooth = fine.std(axis=(1, 2)) < _STRUCTURE * thumbnails.std(axis=(1, 2))
    coarse = np.where(smooth[:, None], 0, _normalised(halves))
    found = [
        np.argwhere(np.abs(coarse[start : start + _BLOCK] @ coarse[start:].T) > _COARSE) + start
        for start in range(0, count, _BLOCK)
    ]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *found])
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    for detail in (_normalised(_fine(halves)), _normalised(fine)):
        pairs = pairs[_correlations(detail, pairs) > _FINE]
    if not len(pairs):
        return []
    rows, places = np.unique(pairs, return_inverse=True)
    agreeing = _correlations(_normalised(_ranks(thumbnails[rows])), places.reshape(pairs.shape)) > _RANKS
    return [(first, second) for first, second in pairs[agreeing].tolist()]


def content_groups(hashes: Sequence[str], thumbnails: Floats) -> list[str]:
    """Return a name for the picture of each image, by hashes and thumbnails; images that show the same one share it.

    It is the smallest hash of each group, shortened to 16 digits.
    """
    group_of = connected((hashes[i], hashes[j]) for i, j in near_copies(thumbnails))
    return [group_of.get(name, name)[:16] for name in hashes]


def left_out(count: int) -> str:
    """Return what training on a dataset's own sides does with near-copies of test images, as a sentence."""
    what = f"{plural(count, 'training image')} {'is' if count == 1 else 'are'}"
    return f"{what} left out as near-copies of test images (data.near_copies=drop; with refuse, training stops)"


def _fine(pictures: Floats) -> Floats:
    side = np.arange(pictures.shape[-1])
    weights = np.exp(-0.5 * ((side[:, None] - side) / _BLUR) ** 2)
    blur = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    fine: Floats = pictures - blur @ pictures @ blur.T
    return fine


def _ranks(pictures: Floats) -> Floats:
    """Return pictures whose grey levels are replaced by their ranks, averaged over ties."""
    ranked = np.empty_like(pictures)
    for picture, into in zip(pictures, ranked, strict=True):
        _, level, counts = np.unique(picture, return_inverse=True, return_counts=True)
        into[:] = (np.cumsum(counts) - counts / 2)[level].reshape(into.shape)
    return ranked


def _correlations(rows: Floats, pairs: npt.NDArray[np.int64]) -> Floats:
    blocks = [pairs[start : start + _BLOCK].T for start in range(0, len(pairs), _BLOCK)]
    found: list[Floats] = [np.einsum("ij,ij->i", rows[first], rows[second]) for first, second in blocks]
    every: Floats = np.abs(np.concatenate([np.empty(0, np.float32), *found]))
    return every


def _normalised(pictures: Floats) -> Floats:
    """Return pictures as rows of mean 0 and length 1; a picture without any structure becomes 0."""
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    flat = length < 1e-3 * np.abs(pictures).max(axis=(1, 2))[:, None] + 1e-6
    return np.where(flat, 0, rows / np.maximum(length, 1e-12)).astype(np.float32)
