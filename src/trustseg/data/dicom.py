"""DICOM files to the grey levels that a viewer shows; needs the extra ``dicom``.

Single-frame greyscale images (CR, DX, secondary capture, ...) are read: modality LUT or rescale, then VOI LUT or the
first window, then MONOCHROME1 turned, as PS3.3 C.7.6.3, C.11.1 and C.11.2 say. The result spans 0 to
2 ** max(8, BitsStored) - 1, so that an 8-bit film without a window is unchanged. A film without a window that claims 16
bits keeps its stored values, as it may hold fewer: its white is decided with the data set. Files without preamble or
meta header are read too. Nothing that identifies a patient leaves this module: not in a result, not in a message.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from trustseg.data.dicom_pixels import check_object, overlays, set_transfer_syntax, stored_range, stored_values
from trustseg.data.intensity import WHITES
from trustseg.data.picture import DeepImage, Picture, warnings_of
from trustseg.errors import DataError, MissingPackageError
from trustseg.text import patient_key, word_set

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["decode_dicom", "deep_dicom", "is_dicom"]

Real = npt.NDArray[np.float64]
Result = TypeVar("Result")

_SALT: Final = os.urandom(16)  # never written: what it makes of a PatientID means nothing elsewhere
_NOBODY: Final = word_set("anonymous anonymized anonymised anon unknown none na n/a") | {"", " "}
_SIXTEEN_BITS: Final = 65535
_DEEP: Final = 512  # largest entry, at least, of a VOI LUT that uses 10 bits or more
_CLIPPED: Final = 0.9  # of the pixels that a window makes black or white: more is noted


def is_dicom(start: bytes) -> bool:
    """Return whether a file that begins with these 132 bytes is DICOM: by its prefix, or by its first element.

    Files without preamble begin with an element of group 0002 or 0008, whatever the byte order.
    """
    if start[128:132] == b"DICM":
        return True
    group, element = start[:2], start[2:4]
    return len(start) == 132 and (
        (group in (b"\x02\0", b"\x08\0") and element[1:] == b"\0")
        or (group in (b"\0\x02", b"\0\x08") and element[:1] == b"\0")
    )


def decode_dicom(data: bytes, path: Path, sha256: str) -> Picture:
    """Return the grey levels of a DICOM image as a viewer shows them, with the pixel spacing."""
    return _decoded(data, path, lambda dataset, stored: _displayed(dataset, stored, path, sha256))


def deep_dicom(data: bytes, path: Path, sha256: str, *, white: int | None) -> DeepImage | None:
    """Return the values of a DICOM image after its modality LUT and before its window; None if it has 8 bits and none.

    ``white`` is the stored value that is white in films of 16 bits without a window; None takes the largest one. The
    file is one that ``decode_dicom`` reads.
    """
    return _decoded(data, path, lambda dataset, stored: _deep(dataset, stored, path, sha256, white))


def _decoded(data: bytes, path: Path, work: "Callable[[Dataset, npt.NDArray[Any]], Result]") -> Result:
    """Return what ``work`` makes of the header and the stored values."""
    try:
        import pydicom
    except ImportError as error:
        raise MissingPackageError(f"{path} is a DICOM file; run: pip install 'trustseg[dicom]'") from error
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values
    problem = "check it with a DICOM viewer, replace or remove it"
    try:
        with warnings_of("pydicom", "ignore"):
            dataset = pydicom.dcmread(BytesIO(data), force=True)
            check_object(dataset, path)
            set_transfer_syntax(dataset, path)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            problem = (
                f"its transfer syntax is {syntax.name}; convert it to JPEG lossless or uncompressed, or replace it if "
                "it is damaged"
            )
        return work(dataset, stored_values(dataset, path))
    except (DataError, MemoryError):
        raise
    except Exception:  # damaged or unusual: pydicom raises almost anything, and quotes values
        pass
    raise DataError(f"{path} cannot be decoded as DICOM; {problem}")


def _displayed(dataset: "Dataset", stored: npt.NDArray[Any], path: Path, sha256: str) -> Picture:
    """Return the stored values as displayed: modality LUT, VOI LUT or window, polarity."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    bits = int(dataset.BitsStored)
    lowest, highest = stored_range(dataset, stored)
    slope, intercept = _numbers(dataset, "RescaleSlope"), _numbers(dataset, "RescaleIntercept")
    if len(slope) != len(intercept) or any(one == 0 or not isfinite(one) for one in slope):
        raise DataError(f"{path} has a RescaleSlope or RescaleIntercept that cannot be applied; export it again")
    _check_luts(dataset, path)
    ends = apply_modality_lut(np.array([lowest, highest]), dataset)
    values = apply_modality_lut(stored, dataset)
    fraction, notes = _windowed(dataset, values, path)
    if fraction is not None and ((fraction <= 0) | (fraction >= 1)).mean() > _CLIPPED:
        notes.append(f"DICOM window leaves over {_CLIPPED:.0%} of the pixels black or white")
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    if inverted:
        notes.append("MONOCHROME1 turned so that 0 is black")
    notes += _passed_over(dataset, stored)
    spacing, patient = _spacing(dataset), _patient_mark(dataset)
    picture = Picture(stored, sha256, "DICOM", spacing=spacing, patient=patient, notes=tuple(notes))
    if dataset.get("VOILUTSequence"):
        top, used = _lut_top(dataset, "VOI", apply_voi, path)
        if used < top and fraction is not None:  # which of 10 to 15 bits is white, the data set tells
            return replace(picture, pixels=np.rint(fraction * top).astype(np.uint16), white=None, inverted=inverted)
    if fraction is None:
        if dataset.get("ModalityLUTSequence"):
            top, used = _lut_top(dataset, "Modality", apply_modality_lut, path)
            if used < top:  # declared with 16 bits, as 8 is the only other depth that a modality LUT may have
                return replace(picture, pixels=values.astype(np.uint16), white=None, inverted=inverted)
            ends = np.array([0, top])
        elif bits == 16 and lowest == 0:
            turned = inverted != bool(ends[0] > ends[1])
            return replace(picture, pixels=stored.astype(np.uint16), white=None, inverted=turned)
        elif bits == 16:
            raise DataError(f"{path} has negative values of 16 bits and no window; give it one in a DICOM viewer")
        fraction = (values.astype(np.float64) - ends.min()) / (ends.max() - ends.min())
    white = 2 ** max(8, bits) - 1
    pixels = np.rint(fraction.clip(0, 1) * white).astype(np.uint8 if white == 255 else np.uint16)
    if pixels.min() == pixels.max() and stored.min() < stored.max():
        raise DataError(f"{path} has a DICOM window or LUT that leaves a single grey level; correct it in a viewer")
    return replace(picture, pixels=white - pixels if inverted else pixels, white=white)


def _deep(dataset: "Dataset", stored: npt.NDArray[Any], path: Path, sha256: str, white: int | None) -> DeepImage | None:
    """Return the values before the window, and the ends of the window."""
    from pydicom.pixels.processing import apply_modality_lut

    lowest, highest = stored_range(dataset, stored)
    window = _window_ends(dataset)
    if window is None and int(dataset.BitsStored) <= 8:
        return None
    if dataset.get("ModalityLUTSequence"):
        values, slope, intercept = apply_modality_lut(stored, dataset), 1.0, 0.0
        declared, used = _lut_top(dataset, "Modality", apply_modality_lut, path)
        black, bright = 0.0, float(used if used == declared else white or used)
    else:
        first, last = (float(end) for end in apply_modality_lut(np.array([lowest, highest]), dataset))
        values, slope, intercept = stored.astype(np.int64) - lowest, (last - first) / (highest - lowest), first
        top = last if white is None or highest < _SIXTEEN_BITS else slope * min(white, highest) + intercept
        black, bright = min(first, top), max(first, top)
    black, bright = window or (black, bright)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return DeepImage(values.astype(np.uint16), slope, intercept, black, bright, inverted, sha256)


def _patient_mark(dataset: "Dataset") -> str:
    """Return what tells images of one PatientID from others as long as this process lives; empty without an ID."""
    name = patient_key(str(dataset.get("PatientID") or ""))
    return "" if name.strip("0") in _NOBODY else hashlib.sha256(_SALT + name.encode()).hexdigest()[:16]


def _window_ends(dataset: "Dataset") -> tuple[float, float] | None:
    """Return what becomes black and white in the VOI LUT or the first window (a sigmoid as a line), None without."""
    if dataset.get("VOILUTSequence"):
        entries, first, _ = map(int, dataset.VOILUTSequence[0].LUTDescriptor)
        return float(first), float(first + (entries or 2**16) - 1)
    if not (centers := _numbers(dataset, "WindowCenter")):
        return None
    center, width = centers[0], _numbers(dataset, "WindowWidth")[0]
    if str(dataset.get("VOILUTFunction") or "LINEAR").upper() == "LINEAR":
        center, width = center - 0.5, width - 1
    return center - width / 2, center + width / 2


def _check_luts(dataset: "Dataset", path: Path) -> None:
    """Raise a DataError unless the entries of a LUT have a depth that exists (PS3.3 C.11.1.1 and C.11.2.1.1)."""
    for kind, depths in (("Modality", (8, 16)), ("VOI", (8, *range(10, 17)))):
        luts = dataset.get(f"{kind}LUTSequence")
        if luts and (bits := int(luts[0].LUTDescriptor[2])) not in depths:
            expected = f"{', '.join(map(str, depths[:-1]))} or {depths[-1]}"
            raise DataError(f"{path} has a {kind} LUT of {bits} bits, expected {expected}; correct it in a viewer")


def _lut_top(
    dataset: "Dataset", kind: str, apply: "Callable[[npt.NDArray[Any], Dataset], npt.NDArray[Any]]", path: Path
) -> tuple[int, int]:
    """Return the values of white in a modality or VOI LUT: as declared, and of the depth that its entries use.

    They differ where 16 bits are declared and the entries have 10 to 15 (of a modality LUT: any number).
    """
    entries, first, bits = map(int, dataset[f"{kind}LUTSequence"][0].LUTDescriptor)
    top: int = 2**bits - 1
    largest = int(apply(np.arange(first, first + (entries or 2**16)), dataset).max())
    if 2 * largest >= top:
        return top, top
    if bits == 16 and (kind == "Modality" or largest >= _DEEP):
        return top, next(white for white in WHITES if largest <= white)
    raise DataError(
        f"{path} has a {kind} LUT of {bits} bits whose entries reach {largest}; correct it in a DICOM viewer"
    )


def _passed_over(dataset: "Dataset", stored: npt.NDArray[Any]) -> list[str]:
    """Return notes on what a viewer might show in another way."""
    notes = []
    if (padding := dataset.get("PixelPaddingValue")) is not None:
        low, high = sorted((int(padding), int(dataset.get("PixelPaddingRangeLimit", padding))))
        if ((stored >= low) & (stored <= high)).any():
            notes.append("DICOM padding (PixelPaddingValue) shown like other pixels")
    if dataset.get("ShutterShape"):
        notes.append("DICOM display shutter not applied")
    if overlays(dataset):
        notes.append("DICOM overlays not drawn")
    shape = {"IDENTITY": "MONOCHROME2", "INVERSE": "MONOCHROME1"}.get(str(dataset.get("PresentationLUTShape")))
    if shape not in (None, dataset.PhotometricInterpretation):
        notes.append("PresentationLUTShape contradicts PhotometricInterpretation, which was used")
    return notes


def _windowed(dataset: "Dataset", values: npt.NDArray[Any], path: Path) -> tuple[Real | None, list[str]]:
    """Return values in [0, 1] after the VOI LUT or the first window, None if there is neither, and the notes."""
    from pydicom.pixels.processing import apply_voi

    if dataset.get("VOILUTSequence"):
        top, used = _lut_top(dataset, "VOI", apply_voi, path)
        whole = np.rint(values).astype(np.int64)
        notes = [
            "DICOM VOI LUT applied" if len(dataset.VOILUTSequence) == 1 else "first of several DICOM VOI LUTs applied"
        ]
        if used < top:
            notes.append("DICOM VOI LUT declared with 16 bits that uses fewer")
        return apply_voi(whole, dataset, index=0).astype(np.float64) / top, notes
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    if not centers and not widths:
        return None, ["DICOM without a window"] if int(dataset.BitsStored) > 8 else []
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    narrow = not widths or (widths[0] < 1 if function == "LINEAR" else widths[0] <= 0)
    if len(centers) != len(widths) or narrow or function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise DataError(f"{path} has a DICOM window that cannot be applied; correct its window in a DICOM viewer")
    note = "DICOM window applied" if len(centers) == 1 else "first of several DICOM windows applied"
    return _window(values.astype(np.float64), centers[0], widths[0], function), [note]


def _window(values: Real, center: float, width: float, function: str) -> Real:
    """Return values in [0, 1] as displayed through a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        sigmoid: Real = 1 / (1 + np.exp((-4 * (values - center) / width).clip(-700, 700)))
        return sigmoid
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return ((values - center) / width + 0.5).clip(0, 1)


def _numbers(dataset: "Dataset", keyword: str) -> list[float]:
    """Return the numbers of an element, none where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return [float(value)] if isinstance(value, (str, float, int)) else [float(one) for one in value]


def _spacing(dataset: "Dataset") -> tuple[float, float] | None:
    """Return the distance of rows and of columns in mm, None if the file does not tell."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = _numbers(dataset, keyword)
        if len(found) == 2 and min(found) > 0:
            return found[0], found[1]
    return None
