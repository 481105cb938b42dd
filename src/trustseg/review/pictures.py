"""The pictures of a case: what the page is sent, and the masks that it sends back."""

import math
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trustseg.data.decode import DeepImage, read_depth, read_image
from trustseg.data.intensity import IntensityScale, render
from trustseg.errors import DataError
from trustseg.metrics import dice_from_counts
from trustseg.review.cases import Case

__all__ = [
    "Mask",
    "deep_values",
    "drawn_png",
    "image_png",
    "overlap",
    "png",
    "read_mask_png",
    "require_predicted",
    "thumbnail_png",
]

Mask = NDArray[np.bool_]

_THUMBNAIL: Final = 72  # longest side in pixels


def image_png(case: Case, *, white: int | None) -> bytes:
    """Return an image as the model was given it, 8 bits, at its own size, as PNG.

    Raises:
        DataError: if its file is no longer the one that was predicted, or cannot be read.
    """
    return png(_rendered(case, white))


def thumbnail_png(case: Case, *, white: int | None) -> bytes:
    """Return a small grey PNG of an image; errors as ``image_png``."""
    small = Image.fromarray(_rendered(case, white))
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return png(np.asarray(small.convert("L")))


def deep_values(case: Case, *, white: int | None) -> DeepImage | None:
    """Return the values of an image of more than 8 bits, before any window; None of others. Errors as ``image_png``."""
    found = read_depth(case.file, white=white)
    if found is not None:
        require_predicted(case, found.sha256)
    return found


def require_predicted(case: Case, sha256: str) -> None:
    """Raise a DataError unless a file with this SHA-256 is the one that was predicted."""
    if sha256 != case.image_sha256:
        raise DataError(f"the image of case {case.number} is not the one that was predicted; its file has changed")


def _rendered(case: Case, white: int | None) -> NDArray[np.uint8]:
    """Return the grey levels (H, W) or colours (H, W, 3) of an image."""
    picture = read_image(case.file)
    require_predicted(case, picture.sha256)
    channels = 3 if picture.pixels.ndim == 3 else 1
    return render(picture, IntensityScale(white), channels=channels, path=case.file)


def read_mask_png(data: bytes, case: Case) -> Mask:
    """Return a mask (H, W), true where the PNG is above 127.

    Raises:
        DataError: if it is no PNG, or not of the size of the case's image.
    """
    try:
        with Image.open(BytesIO(data), formats=("PNG",)) as image:
            if image.size != (case.width, case.height):
                raise DataError(
                    f"a mask of case {case.number} has {image.width}x{image.height} pixels, expected "
                    f"{case.width}x{case.height}"
                )
            return np.asarray(image.convert("L")) > 127
    except DataError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"a mask of case {case.number} is no PNG that can be read ({error})") from error


def drawn_png(data: bytes, case: Case) -> bytes:
    """Return a drawn mask, written anew as 8-bit PNG of 0 and 255: nothing else that came with it is kept."""
    return png(read_mask_png(data, case).astype(np.uint8) * 255)


def overlap(first: Mask, second: Mask) -> float | None:
    """Return the Dice of two masks of one size, None (undefined) if both are empty.

    Example:
        >>> overlap(np.array([True, True]), np.array([True, False]))
        0.6666666666666666
    """
    both, one, other = (np.array([mask.sum()]) for mask in (first & second, first, second))
    value = float(dice_from_counts(both, one, other)[0])
    return None if math.isnan(value) else value


def png(pixels: NDArray[np.generic]) -> bytes:
    """Return grey levels (H, W) or colours (H, W, 3), uint8, as PNG."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
