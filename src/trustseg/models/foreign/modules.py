"""Networks that are torch modules: TorchScript, a function of a package, local folders of smp and Hugging Face."""

import hashlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trustseg.beliefs import Belief
from trustseg.errors import MissingFileError, MissingPackageError, ModelError
from trustseg.files import read_json
from trustseg.models.architectures import check_encoder
from trustseg.models.foreign.network import Facts, ForeignNetwork, SelectedOutput, first_line, noise, probe, select
from trustseg.models.foreign.stripping import strip_module

__all__ = ["of_function", "of_module", "open_folder", "open_function", "open_script", "with_weights"]


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


class _Function(nn.Module):
    """A function as a module; of a belief it returns the log-odds."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Any:  # noqa: ANN401 - whatever the function returns
        found = self.function(inputs)
        return found.log_odds if isinstance(found, Belief) else found


def of_function(function: Callable[[Tensor], Any], *, output: str | int | None) -> ForeignNetwork:
    """Return the network of a function from images to logits, probabilities or beliefs."""
    name = str(getattr(function, "name", None) or getattr(function, "__name__", type(function).__name__))
    module = _Function(function)
    facts = Facts(name, "a function from Python", "", channels=1 if _is_pointwise(module) else None)
    network = of_module(module, facts, output=output)
    inputs = noise(facts.channels or 3, facts.size or 64, batch=facts.batch or 2).requires_grad_()
    facts.digest = hashlib.sha256(network(inputs.detach()).detach().numpy().tobytes()).hexdigest()
    facts.notes.append("Its hash is that of its output for noise.")
    try:
        torch.autograd.grad(network(inputs).sum(), inputs)
    except Exception as error:  # somebody's function may fail in any way
        facts.notes.append(f"No gradients: torch cannot differentiate it ({first_line(error)}).")
        return ForeignNetwork(facts, None, predict=network)
    return network


def _is_pointwise(function: Callable[[Tensor], Any]) -> bool:
    """Return whether a function returns one map for each channel of its input, so that grey images fit it best."""
    try:
        with torch.no_grad():
            return all(function(noise(channels, 64)).shape[1] == channels for channels in (1, 3))
    except Exception:  # as above
        return False


def open_script(path: Path, *, output: str | int | None) -> ForeignNetwork:
    """Return the network of a TorchScript file, whose code is run."""
    content = path.read_bytes()
    facts = Facts(path.name, "TorchScript", hashlib.sha256(content).hexdigest())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch deprecates writing such files
            module = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"'{path}' cannot be read as TorchScript ({first_line(error)}); save it again") from error
    return of_module(module, facts, output=output)


def open_function(source: str, *, weights: Path | str | None, output: str | int | None) -> ForeignNetwork:
    """Return the network that ``package.module:function`` returns, with weights from a file if one is given."""
    place, _, name = source.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)  # as `python -m` does
    try:
        function: Any = importlib.import_module(place)
        for part in name.split("."):
            function = getattr(function, part)
        module = function()
    except (Exception, SystemExit) as error:  # the user's own code
        raise ModelError(
            f"'{source}' cannot be called ({type(error).__name__}: {first_line(error)}); give package.module:function"
        ) from error
    finally:
        sys.path.remove(here)
    if not isinstance(module, nn.Module):
        raise ModelError(f"'{source}' returns a {type(module).__name__}, expected an nn.Module")
    return with_weights(module, Facts(source, "a function of Python", ""), weights, output=output)


def with_weights(
    module: nn.Module, facts: Facts, weights: Path | str | None, *, output: str | int | None
) -> ForeignNetwork:
    """Return the network of a module after loading its weights; without a file it keeps those it has."""
    if weights is not None:
        weights = Path(weights)
        if not weights.is_file():
            raise MissingFileError(f"no weights file '{weights}'; check the path")
        content = weights.read_bytes()
        load_weights(module, tensors_of(content, weights, facts.notes), weights)
        facts.digest = hashlib.sha256(content).hexdigest()
    else:
        facts.digest = _hash_of(module)
        facts.notes.append("No weights file was given: the module is used as it is.")
    return of_module(module, facts, output=output)


def open_folder(folder: Path, *, output: str | int | None) -> ForeignNetwork:
    """Return the network of a folder with ``config.json`` and ``model.safetensors``: smp, or a SegFormer."""
    file = folder / "model.safetensors"
    if (folder / "model.json").is_file():
        raise ModelError(f"'{folder}' is a model of trustseg; open it with Segmenter.load")
    if not file.is_file():
        raise MissingFileError(f"no model.safetensors in '{folder}'; write it with save_pretrained; no pickle is read")
    config = read_json(folder / "config.json")
    facts = Facts(folder.name, "", "")
    if "_model_class" in config:
        facts.form = "segmentation_models.pytorch"
        module = _smp_module(config, folder)
        load_weights(module, tensors_of(file.read_bytes(), file, facts.notes), file)
    elif config.get("architectures") == ["SegformerForSemanticSegmentation"]:
        facts.form = "Hugging Face SegFormer"
        module = _segformer(folder)
        _note_preprocessing(folder / "preprocessor_config.json", facts)
    else:
        raise ModelError(
            f"'{folder / 'config.json'}' describes no model of smp and no SegFormer; give package.module:function"
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
    bars_were_on = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        module, info = transformers.SegformerForSemanticSegmentation.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
        )
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise ModelError(f"'{folder}' cannot be read as a SegFormer ({first_line(error)})") from error
    finally:
        if bars_were_on:
            bars.enable_progress_bar()
    if wrong := [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in info[kind]]:
        first = wrong[0] if isinstance(wrong[0], str) else wrong[0][0]  # with both shapes, where these differ
        raise ModelError(f"'{folder / 'model.safetensors'}' does not fit config.json: '{first}' (of {len(wrong)})")
    network: nn.Module = module
    return network


def _note_preprocessing(file: Path, facts: Facts) -> None:
    """Note the conventions of the input that a ``preprocessor_config.json`` states, and whether it resizes images."""
    if not file.is_file():
        return
    about = read_json(file)
    facts.given |= {"order": "rgb", "scale": 1 if about.get("do_rescale", True) else 255}
    mean, deviation, size = (about.get(name) for name in ("image_mean", "image_std", "size"))
    if about.get("do_normalize", True) and isinstance(mean, list) and isinstance(deviation, list):
        try:
            facts.given |= {"mean": tuple(map(float, mean)), "deviation": tuple(map(float, deviation))}
        except (TypeError, ValueError) as error:
            raise ModelError(f"'{file}': image_mean and image_std are no numbers ({first_line(error)})") from error
    if about.get("do_resize", True) and isinstance(size, dict):
        sides = " x ".join(map(str, size.values()))
        facts.notes.append(f"Its own preprocessing resizes images to {sides} pixels; with size the same is done here.")


def tensors_of(content: bytes, path: Path, notes: list[str]) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a state dict that is read with ``weights_only``.

    A training checkpoint may hold the state dict under any name; a note says under which.
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
    expected, misfits = module.state_dict(), []
    for prefix in ("", "module.", "model.", "net.", "network."):
        if all(name.startswith(prefix) for name in tensors):
            named = {name.removeprefix(prefix): value for name, value in tensors.items()}
            wrong = [name for name in named if name not in expected or named[name].shape != expected[name].shape]
            missing = [name for name in expected if name not in named and not name.endswith("num_batches_tracked")]
            if not wrong and not missing:
                module.load_state_dict(named, strict=False)
                return
            misfits.append((wrong, missing))
    wrong, missing = misfits[0]  # by the names in the file
    what = f"'{wrong[0]}' has no place of its shape" if wrong else f"'{missing[0]}' is missing"
    raise ModelError(f"'{path}' does not fit the network: {what} ({len(wrong)} misfits, {len(missing)} missing)")


def _hash_of(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
