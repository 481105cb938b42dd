"""Opening a model of any supported form."""

import copy
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trustseg.errors import MissingFileError, ModelError
from trustseg.models.foreign.exported import open_export
from trustseg.models.foreign.modules import of_function, open_folder, open_function, open_script, with_weights
from trustseg.models.foreign.network import Facts, ForeignNetwork, probe, select
from trustseg.models.foreign.onnx_files import open_onnx

__all__ = ["open_model"]


def open_model(
    source: str | Path | object,
    *,
    weights: Path | str | None = None,
    trust_code: bool = False,
    output: str | int | None = None,
) -> ForeignNetwork:
    """Return the network of a model of any supported form.

    Args:
        source: ``model.onnx``, ``model.pt2``, a TorchScript file (``.pt``, ``.ts``, ``.torchscript``),
            ``package.module:function``, a folder (of segmentation_models.pytorch or a SegFormer), an
            ``nn.Module``, a function from images to logits, probabilities or beliefs, or an object with MAITE's
            protocol of segmentation.
        weights: state dict for a function or module.
        trust_code: whether code that comes with the model may run: TorchScript, a function.
        output: name or number of the output, where the network returns several.

    Raises:
        MissingFileError: if there is no such file.
        ModelError: if the model cannot be used, or would run code that is not trusted.
        QuestionError: if it returns several maps and ``output`` is None.
    """
    if isinstance(source, nn.Module):
        source = copy.deepcopy(source)  # the caller's keeps its mode and its gradients
        return with_weights(source, Facts(type(source).__name__, "a torch module", ""), weights, output=output)
    if not isinstance(source, str | Path):
        if callable(source) and not hasattr(source, "metadata"):
            return of_function(source, output=output)
        return _maite(source, output)
    path = Path(source)
    if not path.exists() and ":" in str(source) and "/" not in str(source):
        _require_trust(str(source), "runs Python code", trust_code=trust_code)
        return open_function(str(source), weights=weights, output=output)
    if not path.exists():
        raise MissingFileError(f"no model '{source}'; give a file, a folder or package.module:function")
    if weights is not None:
        raise ModelError(f"--weights is for package.module:function; '{source}' holds its own weights")
    if path.is_dir():
        return open_folder(path, output=output)
    match path.suffix.lower():
        case ".onnx":
            return open_onnx(path, output=output)
        case ".pt2":
            return open_export(path, output=output, trust_code=trust_code)
        case ".pt" | ".ts" | ".pth" | ".torchscript" | ".jit":
            _check_script(path)
            _require_trust(str(source), "is TorchScript, which runs code", trust_code=trust_code)
            return open_script(path, output=output)
    raise ModelError(
        f"'{source}' is no model that can be read; give .onnx, .pt2, TorchScript (.pt), a folder with config.json and "
        "model.safetensors, or package.module:function with --weights"
    )


def _require_trust(source: str, what: str, *, trust_code: bool) -> None:
    if not trust_code:
        raise ModelError(f"'{source}' {what}; add --trust-code if you know where it comes from")


def _check_script(path: Path) -> None:
    """Raise a ModelError if a file is no TorchScript, for example a pickled module or a state dict."""
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if not any(name.partition("/")[2].startswith("code/") for name in names):
        raise ModelError(
            f"'{path}' is no TorchScript but a pickle, which is not read; export the model to ONNX, or give "
            "package.module:function, and this file as --weights if it is a state dict"
        )


def _maite(model: Any, output: str | int | None) -> ForeignNetwork:  # noqa: ANN401 - any object
    """Return the network of an object with MAITE's protocol: ``metadata`` with an id, called with a list of arrays."""
    metadata = getattr(model, "metadata", None)
    if not callable(model) or not isinstance(metadata, dict) or "id" not in metadata:
        raise ModelError(
            f"a {type(model).__name__} is no model: give an nn.Module, a function from images to logits, or an object "
            "of MAITE's protocol with an id"
        )
    name = str(metadata["id"])

    def run(inputs: Tensor) -> Tensor:
        found: Sequence[Any] = model([image.numpy() for image in inputs.cpu()])
        return torch.from_numpy(np.stack([np.asarray(each) for each in found])).to(inputs.device)

    facts = Facts(name, "an object of MAITE's protocol", "")
    facts.notes.append("No gradients: it takes and returns arrays.")
    select(probe(run, facts), output, name)

    def predict(inputs: Tensor) -> Tensor:
        return select(run(inputs), output, name)

    return ForeignNetwork(facts, None, predict=predict)
