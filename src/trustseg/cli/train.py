"""``trustseg train``: train one model."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from trustseg.cli.display import say
from trustseg.cli.options import Keys, Settings, output_option, split_settings
from trustseg.cli.progress import Lines
from trustseg.errors import ConfigError

__all__ = ["train"]


def train(
    settings: Settings = None,
    output: Annotated[Path | None, output_option("Run folder. Default: runs/NAME.")] = None,
    keys: Keys = False,
) -> None:
    """Train one model; resumes if run again. Writes OUTPUT/model."""
    from trustseg.cli.checks import require_attacks, require_models, require_splits
    from trustseg.cli.images import images_of
    from trustseg.config import load_run

    file, overrides = split_settings(settings)
    config = load_run(file, overrides)
    if config.data.path is None:
        raise ConfigError("no images given; set data.path to a dataset folder or a pack")
    folder = output or Path("runs") / (file.stem if file else "train")
    require_models([config])
    require_attacks([config])
    pack = images_of(config.data)
    require_splits([config], pack)

    from trustseg.study.cell import claimed
    from trustseg.training import train as run_training
    from trustseg.training.checkpointing import selected_epoch
    from trustseg.training.provenance import prepare_run

    # Lightning starts the other processes of a multi-device run with this same command; the first one owns the folder.
    first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    with claimed(folder) if first else nullcontext(True) as is_claimed:
        if not is_claimed:
            raise ConfigError(f"another process is training in '{folder}'; wait for it or give another --output")
        if first:
            prepare_run(config, pack, folder)
        bars = sys.stderr.isatty()
        if first and not bars and not (folder / "model" / "model.json").exists():
            say(f"training: {config.training.epochs} epochs, a line after each", err=True)
        run_training(config, pack, folder, progress=bars, report=None if bars else Lines("epoch", each=True))
    if first:
        if (selected := selected_epoch(folder / "model")) is not None:
            say(f"kept: {selected}")
        say(f"model: {folder / 'model'}")
        say(f"next: trustseg calibrate {folder}, then trustseg evaluate {folder}")
