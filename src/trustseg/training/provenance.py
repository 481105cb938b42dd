"""Provenance of a result: versions, hardware, data, code; and the folder of a run, which starts with it."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import torch
import yaml

from trustseg import __version__
from trustseg.config import RunConfig
from trustseg.config.privacy import command_without_folders, settings_digest
from trustseg.data import Pack
from trustseg.errors import ConfigError
from trustseg.files import read_json, write_json, write_text
from trustseg.yaml_files import parse_yaml

__all__ = ["COMMAND", "command_line", "prepare_run", "provenance"]

COMMAND: Final = "TRUSTSEG_COMMAND"
"""Environment variable in which a study tells its workers the command that they work for."""

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "segmentation-models-pytorch",
    "timm",
    "numpy",
    "kornia",
)


def provenance(pack: Pack) -> dict[str, object]:
    """Return what a run is made with, without user names or paths, as plain values.

    Versions of packages, commit, hardware, command, digest and counts of the data, time of the start.
    """
    commit, dirty = _commit()
    cuda = torch.cuda.is_available()
    return {
        "trustseg": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit,
        "dirty": dirty,
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(0) if cuda else "cpu",
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "command": os.environ.get(COMMAND) or command_line(),
        "slurm": {key: value for key, value in os.environ.items() if key in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID")},
        "data": {
            "digest": pack.digest,
            "layout": pack.layout,
            "images": len(pack),
            "patients": pack.index["patient"].n_unique(),
            "notes": list(pack.notes),
        },
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command_line() -> str:
    """Return the command that this process was started with, paths cut to their last names."""
    return command_without_folders(sys.argv)


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout this package runs from and whether it was changed; None outside of one."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # no foreign repository around an installed package
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def prepare_run(config: RunConfig, pack: Pack, folder: Path) -> None:
    """Write configuration and provenance into a new run's folder; refuse to go on with an old run that differs.

    Raises:
        ConfigError: if the folder holds a run with another configuration or other images.
    """
    file = folder / "config.yaml"
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    if not file.exists():
        write_text(file, text)
    elif file.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"'{folder}' holds a run with other settings (see its config.yaml); give another --output, or delete "
            "that folder"
        )
    file = folder / "provenance.json"
    if not file.exists():
        settings = parse_yaml(text, where="the settings")
        write_json(file, provenance(pack) | {"settings_sha256": settings_digest(settings)})
    data = read_json(file).get("data")
    if not isinstance(data, dict) or data.get("digest") != pack.digest:
        raise ConfigError(
            f"the images in '{config.data.path}' have changed since the run in '{folder}' was started; give another "
            "--output, or delete that folder"
        )
