"""Every image file below a folder, so that none is dropped without a word."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trustseg.data.dicom import is_dicom
from trustseg.errors import DataError
from trustseg.text import word_set

__all__ = ["SUFFIXES", "UNREAD", "broken_links", "files_below", "image_files", "is_placeholder"]

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".dcm", ".dicom"})
UNREAD: Final = word_set(
    ".jpe .jfif .webp .jp2 .j2k .jpx .jxl .nii .nii.gz .mha .mhd .nrrd .npy .npz .pgm .ppm .pbm .pnm .heic "
    ".heif .avif .dic .ima .svs .ndpi .exr .psd .tga .ico .dib .apng"
)
"""Suffixes of images that are counted, but refused by name when they are opened, unless their content is read."""

# Never images; files of other or no suffix are opened to see.
_NO_IMAGES: Final = word_set(
    ".txt .csv .tsv .json .md .rst .html .xml .yaml .yml .toml .pdf .xls .xlsx .doc .docx .zip .gz .tar .7z "
    ".rar .py .ipynb .m .sh .log .parquet .safetensors .pt .pth .onnx .h5 .lock .bib .tex"
)
_JPEG_2000: Final = (b"\0\0\0\x0cjP", b"\xffO\xffQ")
_MAGIC: Final = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", *_JPEG_2000, b"\x93NUMPY", b"NRRD")
_PLACEHOLDER: Final = 300  # bytes; such texts are about a hundred
_JUNK: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"})


def image_files(folder: Path, *, hidden: bool = False) -> list[Path]:
    """Return all files below a folder that are images by their suffix or first bytes, sorted, links included.

    Links whose content is missing count as well (a git-annex or DataLad clone), so that reading refuses them by name.
    With ``hidden`` they are those, outside of ``.git``, that are hidden or left behind by programs:
    ``__MACOSX/x.png``, ``._x.png``, ``.ipynb_checkpoints/x.png`` and the like.
    """
    return sorted(file for file, is_hidden in files_below(folder) if is_hidden == hidden and _is_image(file))


def broken_links(folder: Path) -> list[Path]:
    """Return the links below a folder that lead nowhere, sorted: each may have been a folder of images."""
    return sorted(file for file, hidden in files_below(folder) if not hidden and not os.path.exists(file))


def is_placeholder(file: Path) -> bool:
    """Return whether a file is a link to nothing, or a text that git-annex or Git LFS puts in place of its content."""
    try:
        if file.stat().st_size > _PLACEHOLDER:
            return False
        text = file.read_bytes()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # opening it will say why it cannot be read
    return b"annex/objects/" in text or text.startswith(b"version https://git-lfs")


def files_below(
    folder: Path, above: tuple[tuple[int, int], ...] = (), *, hidden: bool = False
) -> Iterator[tuple[Path, bool]]:
    """Yield the files below a folder, and whether they or a folder on the way are hidden or left behind by programs.

    ``above`` are device and inode of the folders above it.
    """
    try:
        state = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        if hidden:
            return
        raise DataError(f"the folder {folder} cannot be read ({error.strerror}); check its permissions") from error
    here = (state.st_dev, state.st_ino)
    if here in above:
        raise DataError(f"{folder} is a link back to a folder above it; remove that link")
    for entry in entries:
        junk = hidden or entry.name.startswith(".") or entry.name.lower() in _JUNK
        if not entry.is_dir():
            yield folder / entry.name, junk
        elif entry.name != ".git":
            yield from files_below(folder / entry.name, (*above, here), hidden=junk)


def _is_image(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in SUFFIXES or suffix in UNREAD or file.name.lower().endswith(".nii.gz"):
        return True
    if suffix in _NO_IMAGES or not file.is_file():
        return False
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    riff = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(_MAGIC) or is_dicom(start) or riff
