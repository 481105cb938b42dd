"""Score, policy and decision as a Comprehensive SR after template TID 1500, Measurement Report (PS3.16)."""

from collections.abc import Sequence
from typing import Final

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from trustseg.dicom_output.maps import concept
from trustseg.dicom_output.result import Code, ImageResult, SegmentMeaning
from trustseg.dicom_output.source import NAME, Source, identity

__all__ = ["FRACTION", "REVIEW", "SCORE", "report"]

_SCHEME: Final = "99TRUSTSEG"  # of codes that no public scheme has; DICOM has private ones begin with 99 (PS3.16, 8.2)

SCORE: Final = Code(_SCHEME, "uncertainty", "Uncertainty score of the image")
FRACTION: Final = Code(_SCHEME, "mask-fraction", "Share of the image's pixels in the mask")
REVIEW: Final = Code(_SCHEME, "review", "Review by a human")

_IMAGING: Final = Code("SCT", "363679005", "Imaging")


def report(source: Source, result: ImageResult, meaning: SegmentMeaning, others: Sequence[Dataset]) -> ComprehensiveSR:
    """Return the report, which names the source image and the other objects of the result as its evidence.

    It is complete, unverified and preliminary: no human has looked at it.
    """
    device = DeviceObserverIdentifyingAttributes(
        uid=source.uid("device", result.model, result.version, of="SOPClassUID"),
        name=NAME,
        manufacturer_name=NAME,
        model_name=NAME,
        serial_number=result.model or "unknown",
    )
    observer = ObserverContext(
        observer_type=CodedConcept.from_code(codes.DCM.Device), observer_identifying_attributes=device
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=concept(_IMAGING),
        imaging_measurements=[_measurements(source, result, meaning)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    scheme = CodingSchemeIdentificationItem(
        designator=_SCHEME, name="Concepts of trustseg", responsible_organization=NAME
    )
    return ComprehensiveSR(
        evidence=[source.header, *others],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[scheme],
        **identity("report", source, result),
    )


def _measurements(
    source: Source, result: ImageResult, meaning: SegmentMeaning
) -> MeasurementsAndQualitativeEvaluations:
    """Return the group of what was found on the image as a whole (TID 1501), with the rule that led to it."""
    parameters = [
        f"model: {result.model or 'unknown'}",
        f"measure: {result.measure}",
        f"aggregation: {result.aggregation}",
        f"mask: {result.mask_rule}",
        *(f"policy: {line}" for line in result.policy),
    ]
    numbers = [
        Measurement(concept(name), float(f"{value:.6g}"), codes.UCUM.NoUnits)  # with six digits as in the CSV
        for name, value in ((SCORE, result.score), (FRACTION, float(result.mask.mean())))
    ]
    decision = None if result.review is None else codes.SCT.Yes if result.review else codes.SCT.No
    header = source.header
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(source.uid("measurements", result.digest), "uncertainty of the image"),
        finding_type=concept(meaning.type),
        algorithm_id=AlgorithmIdentification(NAME, result.version, parameters),
        measurements=numbers,
        qualitative_evaluations=None if decision is None else [QualitativeEvaluation(concept(REVIEW), decision)],
        source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )
