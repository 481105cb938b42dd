"""Files that ``trustseg export`` wrote: told from those of others, and run."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from trustseg.deferral import Policy
from trustseg.deferral.policy_files import parse_policy
from trustseg.errors import DataError, MissingFileError, ModelError
from trustseg.export.description import KEY, Description, read_description
from trustseg.export.pipeline import as_input
from trustseg.models.foreign.exported import read_program
from trustseg.models.foreign.onnx_files import package, session_of

__all__ = ["SUFFIXES", "ExportedModel", "is_exported", "open_content", "open_exported"]

SUFFIXES: Final = (".onnx", ".pt2")

Maps = dict[str, NDArray[Any]]
Runner = Callable[[NDArray[Any]], Maps]


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """An exported file, ready to run.

    Attributes:
        name: of the file.
        description: what the file says of itself.
        digest: SHA-256 of the file.
        policy: behind the output ``review``; it has no hashes of patients.
        runner: images to outputs, unchecked.
    """

    name: str
    description: Description
    digest: str
    policy: Policy | None
    runner: Runner

    @property
    def model(self) -> str:
        """The hash of the model whose scores these are: of weights in lower precision that of the file."""
        return self.description.model if self.description.precision == "fp32" else self.digest[:16]

    def __call__(self, images: NDArray[np.uint8]) -> Maps:
        """Return the outputs of the file by name.

        Args:
            images: (B, C, H, W), C = 1 or 3, uint8.

        Raises:
            DataError: if the images have another type or shape.
            ModelError: if the file returns NaN.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
            raise DataError(f"images are {images.dtype} {images.shape}, expected uint8 (B, 1 or 3, H, W)")
        found = self.runner(np.ascontiguousarray(as_input(images, self.description.input)))
        if np.isnan(found["probability"]).any() or np.isnan(found["uncertainty"]).any():
            raise ModelError(f"'{self.name}' returns NaN; find where the model breaks down, then export it again")
        return found


def is_exported(path: Path) -> bool:
    """Return whether ``trustseg export`` wrote a file; False for any other. Errors as ``open_exported``."""
    return path.is_file() and path.suffix.lower() in SUFFIXES and _description_in(path.read_bytes(), path) is not None


def open_exported(path: Path) -> ExportedModel:
    """Return a file that ``trustseg export`` wrote.

    Raises:
        MissingFileError: if there is no such file.
        ModelError: if it is damaged or somebody else's.
        MissingPackageError: for an ONNX file without the extra ``onnx``.
    """
    if not path.is_file():
        raise MissingFileError(f"no exported model '{path}'; check the path")
    return open_content(path.read_bytes(), path)


def open_content(content: bytes, path: Path) -> ExportedModel:
    """Return the exported model in the content of a file; arguments and errors as ``open_exported``."""
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(f"'{path}' is neither .onnx nor .pt2; give a file that 'trustseg export' wrote")
    if not content:
        raise ModelError(f"'{path}' is empty; copy it again, or export the model again")
    text = _description_in(content, path)
    if text is None:
        raise ModelError(f"'{path}' was not written by 'trustseg export'; 'trustseg audit' takes the models of others")
    about = read_description(text, where=str(path))
    opener = _open_onnx if path.suffix.lower() == ".onnx" else _open_program
    policy = None if about.policy is None else parse_policy(about.policy, path)
    return ExportedModel(path.name, about, hashlib.sha256(content).hexdigest(), policy, opener(content, path))


def _description_in(content: bytes, path: Path) -> str | None:
    """Return the text of the description in a file, None if it has none; a ModelError if the file is damaged."""
    if path.suffix.lower() == ".onnx":
        onnx = package("onnx")
        try:
            properties = onnx.load_model_from_string(content).metadata_props
        except Exception as error:  # protobuf's own errors
            raise ModelError(f"'{path}' cannot be read as ONNX: it is damaged or cut short; copy it again") from error
        return next((str(each.value) for each in properties if each.key == KEY), None)
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ModelError(f"'{path}' cannot be read as torch.export file: it is damaged or cut short; copy it again")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.partition("/")[2] == f"extra/{KEY}.json"]
        return archive.read(names[0]).decode("utf-8", "replace") if len(names) == 1 else None


def _open_onnx(content: bytes, path: Path) -> Runner:
    session = session_of(content, str(path))
    names = [each.name for each in session.get_outputs()]

    def run(images: NDArray[Any]) -> Maps:
        try:
            return dict(zip(names, session.run(None, {"image": images}), strict=True))
        except Exception as error:  # onnxruntime has no tree of errors
            raise ModelError(f"'{path}' fails on images {images.shape}; export the model again") from error

    return run


def _open_program(content: bytes, path: Path) -> Runner:
    _, module = read_program(content, path)

    def run(images: NDArray[Any]) -> Maps:
        try:
            with torch.no_grad():
                found: Mapping[str, torch.Tensor] = module(torch.from_numpy(np.array(images)))  # a copy, not read-only
        except Exception as error:  # an operator may fail in any way
            raise ModelError(f"'{path}' fails on images {images.shape}; export the model again") from error
        return {name: values.numpy() for name, values in found.items()}

    return run
