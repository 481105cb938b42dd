"""The mask as a BINARY Segmentation, the pixel uncertainty as a Parametric Map."""

from copy import deepcopy

import numpy as np
from highdicom import AlgorithmIdentificationSequence, VOILUTFunctionValues, VOILUTTransformation
from highdicom.pm import DerivedPixelContrastValues, ParametricMap, RealWorldValueMapping
from highdicom.seg import SegmentAlgorithmTypeValues as Algorithm
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes

from trustseg.dicom_output.result import Code, ImageResult, RedrawnMask, SegmentMeaning
from trustseg.dicom_output.source import NAME, Source, identity

__all__ = ["concept", "parametric_map", "segmentation"]


def concept(code: Code) -> CodedConcept:
    """Return a code as highdicom takes it."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def segmentation(source: Source, result: ImageResult | RedrawnMask, meaning: SegmentMeaning) -> Segmentation:
    """Return the mask as a Segmentation with one segment and one frame, also where the mask is empty.

    The segment of a redrawn mask is marked as made semi-automatically.
    """
    redrawn = isinstance(result, RedrawnMask)
    algorithm = AlgorithmIdentificationSequence(
        name=NAME,
        family=codes.DCM.ArtificialIntelligence,
        version=result.version,
        parameters={"model": result.model or "unknown", "mask": result.mask_rule},
    )
    segment = SegmentDescription(
        segment_number=1,
        segment_label=meaning.label,
        segmented_property_category=concept(meaning.category),
        segmented_property_type=concept(meaning.type),
        algorithm_type=Algorithm.SEMIAUTOMATIC if redrawn else Algorithm.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=source.uid("segment", result.digest),
        tracking_id=f"trustseg {meaning.label}"[:64],
    )
    made = Segmentation(
        source_images=[source.header],
        pixel_array=result.mask.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        omit_empty_frames=False,
        content_label="SEGMENTATION",
        content_description="Mask redrawn by a reader" if redrawn else "Mask predicted by a model",
        **identity("redrawn" if redrawn else "seg", source, result),
    )
    _name_dimensions(made, source.uid("seg dimensions", result.digest))
    if not source.has_position:
        made.PatientOrientation = source.header.get("PatientOrientation") or ""
    return made


def parametric_map(source: Source, result: ImageResult) -> ParametricMap:
    """Return the pixel uncertainty as a Parametric Map of 32-bit floats, in the units of the measure.

    A Parametric Map has to have a plane in a frame of reference, which a radiograph lacks. There it gets a frame of
    reference of its own, that of its image plane, which no other object shares: it claims no place in the patient.
    Rows and columns are those of the source, and each frame names the source as its origin.
    """
    low, high = result.bounds
    mapping = RealWorldValueMapping(
        lut_label="uncertainty",
        lut_explanation=f"pixel uncertainty: {result.measure}"[:64],
        unit=codes.UCUM.NoUnits,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
    )
    window = VOILUTTransformation(
        window_center=(low + high) / 2,
        window_width=high - low,
        voi_lut_function=VOILUTFunctionValues.LINEAR_EXACT,
    )
    made = ParametricMap(
        source_images=[_placed(source)],
        pixel_array=result.uncertainty,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        derived_pixel_contrast=DerivedPixelContrastValues.QUANTITY,
        content_label="UNCERTAINTY",
        content_description=f"{result.measure} of each pixel"[:64],
        **identity("map", source, result),
    )
    _name_dimensions(made, source.uid("map dimensions", result.digest))
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
        if keyword in measures and not source.header.get(keyword):
            delattr(measures, keyword)  # a distance that the source does not tell
    _add_anatomy(made, source)
    return made


def _placed(source: Source) -> Dataset:
    """Return the header with a plane in a frame of reference, its own plane where the image has no place in space."""
    header = deepcopy(source.header)
    if not source.has_position:
        header.FrameOfReferenceUID = source.uid("image plane")
        header.PositionReferenceIndicator = ""
        header.ImagePositionPatient = [0, 0, 0]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for keyword, value in (("PixelSpacing", [1, 1]), ("SliceThickness", 1)):
        if not header.get(keyword):
            setattr(header, keyword, value)  # highdicom reads both; taken out again
    return header


def _add_anatomy(made: Dataset, source: Source) -> None:
    """Add part and side of the body that the frame shows, where the source has codes; some readers rely on it."""
    regions = source.header.get("AnatomicRegionSequence") or []
    side = source.header.get("ImageLaterality") or source.header.get("Laterality")
    if len(regions) == 1 and regions[0].get("CodeValue") and side in ("R", "L", "U", "B"):
        anatomy = Dataset()
        anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = regions, side
        made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    else:
        made.Laterality = source.header.get("Laterality") or ""


def _name_dimensions(made: Dataset, uid: str) -> None:
    """Give the dimensions a name that does not differ from run to run."""
    for sequence in (made.DimensionOrganizationSequence, made.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = uid
