"""The origin of every DICOM object: series, instance, and trustseg as the device that made it."""

from typing import TYPE_CHECKING, Any, Final

from trustseg.dicom_output.result import Code, ImageResult, RedrawnMask
from trustseg.dicom_output.source import Source

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.sr import CodedConcept

__all__ = ["KINDS", "algorithm", "concept", "identity"]

KINDS: Final = ("seg", "map", "capture", "report", "redrawn")
"""The objects, in the order in which their series are numbered."""

_NAME: Final = "trustseg"
_DESCRIPTIONS: Final = ("segmentation", "uncertainty map", "secondary capture", "report", "redrawn segmentation")


def identity(kind: str, source: Source, result: ImageResult | RedrawnMask) -> dict[str, Any]:
    """Return what the constructors of highdicom take on series, instance and device, by name.

    The instance is named after everything it says, so that equal results have equal names and different ones never
    share one. All instances of a kind that a run derives from a source series are in one series, but for maps of images
    without a place in space: a series has one frame of reference, and each of these has its own.
    """
    number = KINDS.index(kind)
    alone = kind == "map" and not source.has_position
    return {
        "series_instance_uid": source.uid(
            f"{kind} series", result.settings, of="SOPInstanceUID" if alone else "SeriesInstanceUID"
        ),
        "series_number": source.series_number(number + 1),
        "series_description": f"{_NAME} {_DESCRIPTIONS[number]}",
        "sop_instance_uid": source.uid(kind, result.digest),
        "instance_number": source.instance_number,
        "manufacturer": _NAME,
        "manufacturer_model_name": _NAME,
        "software_versions": result.version,
        "device_serial_number": result.model or "0",
    }


def concept(code: Code) -> "CodedConcept":
    """Return a code as highdicom takes it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def algorithm(result: ImageResult | RedrawnMask) -> "AlgorithmIdentificationSequence":
    """Return which algorithm made a result: trustseg, its version, and the hash of the model."""
    from highdicom import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes

    return AlgorithmIdentificationSequence(
        name=_NAME,
        family=codes.DCM.ArtificialIntelligence,
        version=result.version,
        parameters={"model": result.model or "unknown", "mask": result.mask_rule},
    )
