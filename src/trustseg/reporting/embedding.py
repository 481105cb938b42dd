"""Pictures and tables inside of a page, so that it is one file."""

import base64
import io

from PIL import Image

__all__ = ["data_uri", "reduced"]


def data_uri(content: bytes | str, kind: str) -> str:
    """Return content as an address that holds it, of a MIME type.

    Example:
        >>> data_uri("a", "text/csv")
        'data:text/csv;base64,YQ=='
    """
    raw = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def reduced(png: bytes) -> bytes:
    """Return a drawing for a page: half the size of the one for print, and a palette of 64 colours."""
    picture = io.BytesIO()
    with Image.open(io.BytesIO(png)) as drawing:
        drawing.convert("RGB").reduce(2).quantize(64).save(picture, format="PNG", optimize=True)
    return picture.getvalue()
