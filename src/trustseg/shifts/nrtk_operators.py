"""Operators of nrtk, the Natural Robustness Toolkit, as shifts: ``nrtk:NAME(parameter=[five values])``.

A parameter has one value for each severity, or the same one for all; what is not given is nrtk's default. Images go to
nrtk one by one as 8-bit RGB on the CPU. Only operators that leave pixels in their place are known: nrtk moves boxes
along, but no masks. Needs ``pip install 'nrtk[headless,pillow,skimage]'``, and the extra ``pybsm`` for those of optics.

Reference:
    https://github.com/Kitware/nrtk, version 1.1.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trustseg.entries import number
from trustseg.errors import ConfigError, MissingPackageError, unknown_name
from trustseg.shifts.table import check

__all__ = ["NRTK", "nrtk_operators", "nrtk_shift"]

NRTK: Final = "nrtk:"  # before the name of an operator
_MODULES: Final = ("photometric.blur", "photometric.enhance", "photometric.noise", "environment", "optical.otf")
_MOVING: Final = "WaterDropletPerturber"  # the one of these modules that moves pixels


def nrtk_operators() -> Mapping[str, Callable[..., Any]]:
    """Return the operators that are installed and leave pixels in their place, by name.

    Raises:
        MissingPackageError: if nrtk, or a package that it needs, is not installed.
    """
    try:
        modules = [importlib.import_module(f"nrtk.impls.perturb_image.{module}") for module in _MODULES]
    except ImportError as error:
        raise MissingPackageError(
            f"the operators of nrtk cannot be imported ({error}); run: pip install 'nrtk[headless,pillow,skimage]'"
        ) from error
    names = {name: module for module in modules for name in module.__all__ if name.endswith("Perturber")}
    return {name: getattr(module, name) for name, module in names.items() if name != _MOVING}


def nrtk_shift(text: str) -> Callable[[Tensor, int, torch.Generator], Tensor]:
    """Return the shift that ``nrtk:NAME(parameter=[five values])`` names.

    Raises:
        MissingPackageError: if nrtk, or a package that it needs, is not installed.
        UnknownNameError: if there is no such operator, or no such parameter of it.
        ConfigError: if no parameter has five values, or nrtk refuses one.
    """
    name, _, arguments = text.removeprefix(NRTK).partition("(")
    operators = nrtk_operators()
    if name not in operators:
        raise unknown_name("operator of nrtk that leaves pixels in their place", name, operators)
    parameters = [each for each in signature(operators[name]).parameters if each not in ("seed", "is_static")]
    values = {key: _values(value) for key, value in re.findall(r"(\w+)=(\[[^\]]*\]|[^,)]*)", arguments)}
    for key in values:
        if key not in parameters:
            raise unknown_name(f"parameter of {name}", key, parameters)
    if 5 not in map(len, values.values()) or not {*map(len, values.values())} <= {1, 5}:
        example = f"{{name: {NRTK}{name}, {parameters[0]}: [.., .., .., .., ..]}}"
        raise ConfigError(f"shift {text}: write five values of a parameter, one for each severity: {example}")

    def operator(severity: int, seed: int) -> Callable[..., Any]:
        options = {key: each[severity - 1 if len(each) > 1 else 0] for key, each in values.items()}
        seeds = {"seed": seed} if "seed" in signature(operators[name]).parameters else {}
        try:
            instance: Callable[..., Any] = operators[name](**options, **seeds)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"shift {text}, severity {severity}: {error}") from error
        return instance

    def shifted(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
        check(text, images, severity)
        rows = []
        for image in images:
            seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
            levels = image.mul(255).round().byte().expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy()
            changed, _ = operator(severity, seed)(image=levels)
            rows.append(torch.from_numpy(np.ascontiguousarray(changed)).permute(2, 0, 1)[: len(image)])
        return torch.stack(rows).to(images.device).div(255)

    for severity in range(1, 6):  # what nrtk refuses is refused before anything is measured
        operator(severity, 0)
    return shifted


def _values(text: str) -> list[object]:
    """Return the numbers in ``[1, 2, 3]``, or in a text without brackets; what is no number stays a text."""
    return [_value(part.strip()) for part in text.strip("[] ").split(",")]


def _value(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return number(text)
