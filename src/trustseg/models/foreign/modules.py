"""Networks that are torch modules: TorchScript, a function of a package, local folders of smp and Hugging Face."""

import hashlib
import importlib
import io
import sys
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trustseg.errors import MissingFileError, MissingPackageError, ModelError
from trustseg.files import read_json
from trustseg.models.architectures import check_encoder
from trustseg.models.foreign.network import Facts, ForeignNetwork, SelectedOutput, first_line, noise, probe, select
from trustseg.models.foreign.stripping import strip_module

__all__ = ["of_module", "open_folder", "open_function", "open_script", "with_weights"]


def of_module(module: nn.Module, facts: Facts, *, output: str | int | None) -> ForeignNetwork:
    """Return the network of a torch module, in eval mode, without its last activation if it has one."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    whole = SelectedOutput(module.eval(), output, facts.name)
    with torch.no_grad():
        if facts.channels is None and first is not None and first.in_channels in (1, 3):
            facts.channels = first.in_channels
        select(probe(module, facts), output, facts.name)
        inputs = noise(facts.channels or 3, facts.size or 64, batch=facts.batch or 2)
        bare, activation = strip_module(whole, inputs)
    return ForeignNetwork(facts, bare.requires_grad_(False), activation=activation)


def open_script(path: Path, *, output: str | int | None) -> ForeignNetwork:
    """Return the network of a TorchScript file, whose code is run.

    Raises:
        ModelError: if it is damaged.
    """
    content = path.read_bytes()
    facts = Facts(path.name, "TorchScript", hashlib.sha256(content).hexdigest())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch deprecates writing such files
            module = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"'{path}' cannot be read as TorchScript ({first_line(error)}); save it again") from error
    return of_module(module, facts, output=output)


def open_function(source: str, *, weights: Path | None, output: str | int | None) -> ForeignNetwork:
    """Return the network that ``package.module:function`` returns, with weights from a file if one is given.

    Raises:
        ModelError: if there is no such function, it returns no module, or the weights do not fit.
    """
    place, _, name = source.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)  # as `python -m` does
    try:
        function: Any = importlib.import_module(place)
        for part in name.split("."):
            function = getattr(function, part)
        module = function()
    except Exception as error:  # the user's own code
        raise ModelError(
            f"'{source}' cannot be called ({type(error).__name__}: {first_line(error)}); give package.module:function"
        ) from error
    finally:
        sys.path.remove(here)
    if not isinstance(module, nn.Module):
        raise ModelError(f"'{source}' returns a {type(module).__name__}, expected an nn.Module")
    return with_weights(module, Facts(source, "a function of Python", ""), weights, output=output)


def with_weights(module: nn.Module, facts: Facts, weights: Path | None, *, output: str | int | None) -> ForeignNetwork:
    """Return the network of a module after loading its weights; without a file it keeps those it has."""
    if weights is not None:
        content = _content_of(weights)
        load_weights(module, tensors_of(content, weights, facts.notes), weights)
        facts.digest = hashlib.sha256(content).hexdigest()
    else:
        facts.digest = _hash_of(module)
        facts.notes.append("No weights file was given: the module is used as it is.")
    return of_module(module, facts, output=output)


def open_folder(folder: Path, *, output: str | int | None) -> ForeignNetwork:
    """Return the network of a folder with ``config.json`` and ``model.safetensors``: smp, or a SegFormer.

    Raises:
        MissingFileError: if a file is absent.
        ModelError: if the configuration names no known model, or the weights do not fit.
    """
    file = folder / "model.safetensors"
    if not file.is_file():
        raise MissingFileError(
            f"no model.safetensors in '{folder}'; save the model with save_pretrained, which writes it (pickled "
            "weights such as pytorch_model.bin are not read)"
        )
    config = read_json(folder / "config.json")
    facts = Facts(folder.name, "", "")
    if "_model_class" in config:
        facts.form = "segmentation_models.pytorch"
        module = _smp_module(config, folder)
        load_weights(module, tensors_of(file.read_bytes(), file, facts.notes), file)
    elif "SegformerForSemanticSegmentation" in _listed(config.get("architectures")):
        facts.form = "Hugging Face SegFormer"
        module = _segformer(folder)
        facts.given |= _preprocessing(folder)
        facts.notes += _sized(folder)
    else:
        raise ModelError(
            f"'{folder / 'config.json'}' describes neither a model of segmentation_models.pytorch nor a "
            "SegformerForSemanticSegmentation; give package.module:function, which builds the network"
        )
    facts.digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return of_module(module, facts, output=output)


def _smp_module(config: dict[str, object], folder: Path) -> nn.Module:
    import segmentation_models_pytorch as smp

    kind = getattr(smp, str(config["_model_class"]), None)
    if not (isinstance(kind, type) and issubclass(kind, smp.base.SegmentationModel)):
        raise ModelError(f"'{folder / 'config.json'}' names '{config['_model_class']}', no model of smp")
    options = {name: value for name, value in config.items() if not name.startswith("_")}
    try:
        check_encoder(str(options.get("encoder_name", "")))
        module: nn.Module = kind(**{**options, "encoder_weights": None})
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise ModelError(f"'{folder / 'config.json'}' cannot be built ({first_line(error)})") from error
    return module


def _segformer(folder: Path) -> nn.Module:
    """Return a SegFormer with its weights; transformers itself knows under which names versions stored them."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingPackageError("a SegFormer needs transformers; run 'pip install transformers'") from error
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        module, found = transformers.SegformerForSemanticSegmentation.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise ModelError(f"'{folder}' cannot be read as a SegFormer ({first_line(error)})") from error
    finally:
        if shown:
            bars.enable_progress_bar()
    if odd := [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in found[kind]]:
        raise ModelError(f"'{folder / 'model.safetensors'}' does not fit config.json: '{odd[0]}' (of {len(odd)})")
    network: nn.Module = module
    return network


def _preprocessing(folder: Path) -> dict[str, object]:
    """Return the conventions of the input that ``preprocessor_config.json`` states."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return {}
    about = read_json(file)
    given: dict[str, object] = {"order": "rgb"}
    mean, deviation = about.get("image_mean"), about.get("image_std")
    if about.get("do_normalize", True) and isinstance(mean, list) and isinstance(deviation, list):
        given |= {"mean": tuple(map(float, mean)), "deviation": tuple(map(float, deviation))}
    given["scale"] = 1 if about.get("do_rescale", True) else 255
    return given


def _sized(folder: Path) -> list[str]:
    """Return a note if ``preprocessor_config.json`` resizes images."""
    file = folder / "preprocessor_config.json"
    about = read_json(file) if file.is_file() else {}
    if not about.get("do_resize", True) or not isinstance(size := about.get("size"), dict):
        return []
    sides = " x ".join(str(side) for side in size.values())
    return [f"Its own preprocessing resizes images to {sides} pixels; with size the same is done here."]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"no weights file '{path}'; check the path") from error


def tensors_of(content: bytes, path: Path, notes: list[str]) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a state dict that is read with ``weights_only``.

    A training checkpoint may hold the state dict under any name; a note says under which.

    Raises:
        ModelError: if it is neither, or a checkpoint with several state dicts.
    """
    try:
        if path.suffix == ".safetensors":
            return load(content)
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise ModelError(
            f"'{path}' holds no plain tensors ({first_line(error)}); save it with safetensors or torch.save(state_dict)"
        ) from error
    if _is_state_dict(found):
        return dict(found)
    inner = [name for name, value in found.items() if _is_state_dict(value)] if isinstance(found, dict) else []
    if len(inner) != 1:
        what = f"holds several state dicts ({', '.join(map(str, inner))})" if inner else "is no state dict"
        raise ModelError(f"'{path}' {what}; save the one of the network with torch.save(model.state_dict())")
    notes.append(f"Weights are read from '{inner[0]}' of the checkpoint.")
    return dict(found[inner[0]])


def _is_state_dict(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(entry, Tensor) for entry in value.values())


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load all tensors into a module, one prefix in front of every name taken off; raise a ModelError on a misfit."""
    expected = module.state_dict()
    for prefix in ("", "module.", "model.", "net.", "network."):
        named = {name.removeprefix(prefix): value for name, value in tensors.items()}
        if prefix and not all(name.startswith(prefix) for name in tensors):
            continue
        wrong = [name for name in named if name not in expected or named[name].shape != expected[name].shape]
        missing = [name for name in expected if name not in named and not name.endswith("num_batches_tracked")]
        if not wrong and not missing:
            module.load_state_dict(named, strict=False)
            return
    wrong = [name for name in tensors if name not in expected or tensors[name].shape != expected[name].shape]
    missing = [name for name in expected if name not in tensors]
    what = f"'{wrong[0]}' has no place of its shape" if wrong else f"'{missing[0]}' is missing"
    raise ModelError(
        f"'{path}' does not fit the network: {what} ({len(wrong)} such tensors, {len(missing)} missing); give the "
        "weights of this network"
    )


def _hash_of(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
