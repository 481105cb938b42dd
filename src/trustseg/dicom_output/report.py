"""Score, policy and decision as a Comprehensive SR after template TID 1500, Measurement Report (PS3.16)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from trustseg.dicom_output.equipment import concept, identity
from trustseg.dicom_output.result import Code, ImageResult, SegmentMeaning
from trustseg.dicom_output.source import Source

if TYPE_CHECKING:
    from highdicom.sr import ComprehensiveSR, Measurement, MeasurementsAndQualitativeEvaluations, ObservationContext
    from pydicom import Dataset

__all__ = ["FRACTION", "REVIEW", "SCHEME", "SCORE", "report"]

SCHEME: Final = "99TRUSTSEG"
"""Scheme of the codes that no public one has; DICOM has private schemes begin with 99 (PS3.16, section 8.2)."""

SCORE: Final = Code(SCHEME, "uncertainty", "Uncertainty score of the image")
FRACTION: Final = Code(SCHEME, "mask-fraction", "Share of the image's pixels in the mask")
REVIEW: Final = Code(SCHEME, "review", "Review by a human")

_IMAGING: Final = Code("SCT", "363679005", "Imaging")
_ALGORITHM: Final = "trustseg"


def report(
    source: Source, result: ImageResult, meaning: SegmentMeaning, others: "Sequence[Dataset]"
) -> "ComprehensiveSR":
    """Return the report, which names the source image and the other objects of the result as its evidence.

    It is complete, unverified and preliminary: no human has looked at it.
    """
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR, MeasurementReport
    from pydicom.sr.codedict import codes

    content = MeasurementReport(
        observation_context=_observer(source, result),
        procedure_reported=concept(_IMAGING),
        imaging_measurements=[_measurements(source, result, meaning)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return ComprehensiveSR(
        evidence=[source.header, *others],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=SCHEME, name="Concepts of trustseg", responsible_organization="trustseg"
            )
        ],
        **identity("report", source, result),
    )


def _observer(source: Source, result: ImageResult) -> "ObservationContext":
    """Return who observed: trustseg with the hash of its model, a device."""
    from highdicom.sr import CodedConcept, DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=source.uid("device", result.model, result.version, of="SOPClassUID"),
        name=_ALGORITHM,
        manufacturer_name=_ALGORITHM,
        model_name=_ALGORITHM,
        serial_number=result.model or "unknown",
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=CodedConcept.from_code(codes.DCM.Device), observer_identifying_attributes=device
        )
    )


def _measurements(
    source: Source, result: ImageResult, meaning: SegmentMeaning
) -> "MeasurementsAndQualitativeEvaluations":
    """Return the group of what was found on the image as a whole (TID 1501), with the rule that led to it."""
    from highdicom.sr import (
        AlgorithmIdentification,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes

    parameters = [
        f"model: {result.model or 'unknown'}",
        f"measure: {result.measure}",
        f"aggregation: {result.aggregation}",
        f"mask: {result.mask_rule}",
        *(f"policy: {line}" for line in result.policy),
    ]
    decision = None if result.review is None else codes.SCT.Yes if result.review else codes.SCT.No
    header = source.header
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(source.uid("measurements", result.digest), "uncertainty of the image"),
        finding_type=concept(meaning.type),
        algorithm_id=AlgorithmIdentification(_ALGORITHM, result.version, parameters),
        measurements=[_number(SCORE, result.score), _number(FRACTION, float(result.mask.mean()))],
        qualitative_evaluations=None if decision is None else [QualitativeEvaluation(concept(REVIEW), decision)],
        source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
    )


def _number(name: Code, value: float) -> "Measurement":
    """Return a number without a unit, with six digits as in the CSV."""
    from highdicom.sr import Measurement
    from pydicom.sr.codedict import codes

    return Measurement(concept(name), float(f"{value:.6g}"), codes.UCUM.NoUnits)
