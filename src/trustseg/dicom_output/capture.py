"""A secondary capture: the image with the contour of the mask, and below it a strip with score and decision."""

from typing import Final

import numpy as np
from highdicom.enum import CoordinateSystemNames, PhotometricInterpretationValues
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian
from scipy.ndimage import binary_erosion

from trustseg.dicom_output.result import ImageResult
from trustseg.dicom_output.source import Source, identity

__all__ = ["CONTOUR", "burnt_in", "capture"]

CONTOUR: Final = (255, 194, 10)
"""Colour of the contour: apart from every grey, for those who cannot tell red from green as well."""

_PER_PIXELS: Final = 512  # the contour is one pixel wide per so many of the longer side
_SMALLEST, _LARGEST = 8, 48  # height of letters in pixels
_FROM_SOURCE: Final = (
    *("BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)


def capture(source: Source, result: ImageResult) -> SCImage:
    """Return the secondary capture, in RGB. It has the columns of the source, and more rows for the strip below."""
    header = source.header
    made = SCImage.from_ref_dataset(
        ref_dataset=header,
        pixel_array=burnt_in(result),
        photometric_interpretation=PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "F"),  # demanded here; set below
        pixel_spacing=header.get("PixelSpacing"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **identity("capture", source, result),
    )
    made.copy_patient_and_study_information(header)
    for keyword in ("PatientOrientation", "Laterality"):
        setattr(made, keyword, header.get(keyword) or "")
    made.ConversionType = "WSD"  # a workstation made it
    made.DerivationDescription = "Image with the contour of a predicted mask; score and decision below it"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    purpose = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    reference.PurposeOfReferenceCodeSequence = [purpose]
    made.SourceImageSequence = [reference]
    for keyword in _FROM_SOURCE:
        if header.get(keyword):
            setattr(made, keyword, header[keyword].value)
    return made


def burnt_in(result: ImageResult) -> NDArray[np.uint8]:
    """Return what the capture shows (rows, columns, 3): the image with the contour, and the strip below it.

    The strip hides no pixel of the image. Letters shrink with the image; where they would be unreadable, the strip is
    wider than the image, which then is padded with black on the right.
    """
    height, width = result.mask.shape
    lines = _lines(result)
    per_height = max(ImageFont.load_default(100).getlength(line) for line in lines) / 100
    size = int(np.clip(width / (per_height + 2), _SMALLEST, _LARGEST))
    font = ImageFont.load_default(size)
    length = max(int(np.ceil(font.getlength(line))) for line in lines) + 2 * size
    step = round(1.3 * size)
    canvas = np.zeros((height + step * len(lines) + size // 2, max(width, length), 3), np.uint8)
    canvas[:height, :width] = result.shown[..., None]
    canvas[:height, :width][_contour(result.mask)] = CONTOUR
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((size // 2, height + number * step), line, font=font, fill=(255, 255, 255))
    return np.asarray(picture)


def _lines(result: ImageResult) -> tuple[str, ...]:
    """Return the words of the strip: the decision, if a policy makes one, the score, and the limit of its use."""
    decision = {None: (), True: ("REVIEW",), False: ("NO REVIEW",)}[result.review]
    empty = () if result.mask.any() else ("mask is empty",)
    score = f"uncertainty {result.score:.4g} ({result.measure}, {result.aggregation})"
    return (*decision, *empty, score, f"trustseg {result.version}, research use only")


def _contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the outermost pixels of a mask; the border of the image bounds it as well."""
    depth = max(1, round(max(mask.shape) / _PER_PIXELS))
    inner: NDArray[np.bool_] = binary_erosion(mask, np.ones((3, 3), bool), iterations=depth)
    return mask & ~inner
