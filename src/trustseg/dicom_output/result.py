"""The result for one image, as the DICOM objects need it; and what the segment in them means."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trustseg.errors import ConfigError

__all__ = ["Code", "ImageResult", "RedrawnMask", "SegmentMeaning"]


class Code(NamedTuple):
    """A coded concept: the scheme it is from (``SCT`` is SNOMED CT), its value, and its meaning in words."""

    scheme: str
    value: str
    meaning: str

    @classmethod
    def parse(cls, text: str) -> "Code":
        """Return the code that a text such as ``SCT:52988006:Lesion`` gives.

        Raises:
            ConfigError: if it has not three parts, or one is longer than DICOM allows (16, 16 and 64 characters).

        Example:
            >>> Code.parse("SCT:52988006:Lesion")
            Code(scheme='SCT', value='52988006', meaning='Lesion')
        """
        parts = [part.strip() for part in text.split(":", 2)]
        short = all(len(part) <= most for part, most in zip(parts, (16, 16, 64), strict=False))
        if len(parts) < 3 or not all(parts) or not short or "\\" in text or not (text.isascii() and text.isprintable()):
            raise ConfigError(
                f"'{text}' is no code; write SCHEME:VALUE:MEANING in plain letters, such as SCT:52988006:Lesion"
            )
        return cls(*parts)


_ABNORMAL: Final = Code("SCT", "49755003", "Morphologically Abnormal Structure")
_LESION: Final = Code("SCT", "52988006", "Lesion")


@dataclass(frozen=True, slots=True)
class SegmentMeaning:
    """What the mask marks: a word, and the codes of its Segmented Property Category and Type."""

    label: str = "foreground"
    category: Code = _ABNORMAL
    type: Code = _LESION

    def __post_init__(self) -> None:
        if not (0 < len(self.label) <= 64 and self.label.isascii() and self.label.isprintable()) or "\\" in self.label:
            raise ConfigError(f"segment label '{self.label}': expected 1 to 64 plain letters")


@dataclass(frozen=True)
class ImageResult:
    """What a model says of one image, at the image's own size.

    Attributes:
        mask: (H, W) bool.
        uncertainty: (H, W) float32, in the units of the measure.
        bounds: the lowest and the highest value of the measure, to display the map.
        shown: (H, W) uint8, the image as it is displayed, 0 is black.
        score: image score, finite.
        measure: name of the pixel measure.
        aggregation: how the map became the score.
        review: whether a human should look at the image; None without a policy.
        policy: the guarantee of the policy in a sentence, and its threshold; empty without one.
        mask_rule: which pixels are in the mask.
        model: hash of the model.
        version: version of trustseg.
    """

    mask: NDArray[np.bool_]
    uncertainty: NDArray[np.float32]
    bounds: tuple[float, float]
    shown: NDArray[np.uint8]
    score: float
    measure: str
    aggregation: str
    review: bool | None
    policy: tuple[str, ...]
    mask_rule: str
    model: str
    version: str

    @property
    def settings(self) -> str:
        """What all results of one run have in common, as text."""
        parts = (self.model, self.version, self.measure, self.aggregation, self.policy, self.mask_rule)
        return json.dumps(parts)

    @cached_property
    def digest(self) -> str:
        """A hash of the whole result: equal for equal results, whenever and wherever they were computed."""
        found = hashlib.sha256(json.dumps([self.settings, repr(self.score), self.review]).encode())
        for values in (self.mask, self.uncertainty, self.shown):
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class RedrawnMask:
    """A mask that a person has redrawn from that of a model, at the image's own size.

    Attributes:
        mask: (H, W) bool.
        decision: hash of the decision that it came with, which names the object.
        model: hash of the model.
        version: version of trustseg.
    """

    mask: NDArray[np.bool_]
    decision: str
    model: str
    version: str

    mask_rule: ClassVar = "redrawn by a reader"

    @property
    def settings(self) -> str:
        """What all masks redrawn from those of one model have in common."""
        return json.dumps([self.model, self.version])

    @property
    def digest(self) -> str:
        """A hash of the mask and the decision."""
        pixels = np.ascontiguousarray(self.mask).tobytes()
        return hashlib.sha256(json.dumps([self.settings, self.decision]).encode() + pixels).hexdigest()
