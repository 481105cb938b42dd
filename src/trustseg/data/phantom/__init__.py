"""Phantoms: generated frontal chest X-rays with infections whose ambiguity is known. Nothing here loads torch."""

from trustseg.data.phantom.generate import Phantom, phantom
from trustseg.data.phantom.lesions import read
from trustseg.data.phantom.writing import write_phantoms

__all__ = ["Phantom", "phantom", "read", "write_phantoms"]
