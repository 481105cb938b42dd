"""Templates of pages, and pictures and tables embedded in them, so that each page is one file."""

import base64
import io

import jinja2
from PIL import Image

from trustseg.reporting.labels import words
from trustseg.reporting.tables import number_text
from trustseg.tables import csv_text

__all__ = ["data_uri", "reduced", "template_environment"]


def template_environment(*packages: str) -> jinja2.Environment:
    """Return the environment of the templates of some packages; an earlier one hides those of a later."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"csv": csv_text, "data_uri": data_uri, "words": words, "number": number_text}
    return environment


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
