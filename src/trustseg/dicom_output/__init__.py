"""DICOM objects that carry a prediction back to the series of its image; needs the extra ``dicom``.

Of each image four objects are written, all of the same patient and study, and all referring to the source image:

* ``seg``: the mask as a BINARY Segmentation, with the rows and columns of the source;
* ``map``: the pixel uncertainty as a Parametric Map, float32, in the units of the measure;
* ``capture``: a Secondary Capture for viewers that can show neither: image, contour, score and decision;
* ``report``: a Comprehensive SR after template TID 1500 with score, policy and decision.

What identifies the patient is copied from the source as it is, and nothing is added: a de-identified source gives
de-identified objects. Values of the source that break their own format are left out, and named.

``capture``, ``maps`` and ``report`` import highdicom; all else works without it.
"""

from trustseg.dicom_output.result import Code, ImageResult, RedrawnMask, SegmentMeaning
from trustseg.dicom_output.source import Source, read_source
from trustseg.dicom_output.writing import OBJECTS, check_source, meaning_in, write_objects, write_redrawn

__all__ = [
    "OBJECTS",
    "Code",
    "ImageResult",
    "RedrawnMask",
    "SegmentMeaning",
    "Source",
    "check_source",
    "meaning_in",
    "read_source",
    "write_objects",
    "write_redrawn",
]
