"""Arguments and options that several commands share, and the settings of a trained model.

Settings are a YAML file, ``key=value``, or those of the run that a model comes from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustseg.errors import ConfigError, ModelError
from trustseg.yaml_files import parse_yaml

if TYPE_CHECKING:
    from trustseg.config import RunConfig
    from trustseg.models.spec import SegmenterSpec

__all__ = [
    "SETTINGS_HELP",
    "Aggregation",
    "AllowSeen",
    "Draws",
    "ExportedOrModel",
    "Keys",
    "Measure",
    "Members",
    "Model",
    "Overwrite",
    "ScoreAggregation",
    "ScoreMeasure",
    "Settings",
    "Tau",
    "Uncalibrated",
    "home_of",
    "output_option",
    "sets_fold",
    "settings_of",
    "split_settings",
]

SETTINGS_HELP = "YAML file and/or key=value settings, e.g. model.head=beta adversarial.eps=4/255."


def _show_keys(wanted: bool) -> None:
    if not wanted:
        return
    from trustseg.cli.display import print_table
    from trustseg.config import describe_keys, describe_options

    print_table(("key", "default", "allowed", "meaning"), describe_keys(), width=180)
    print_table(("\nentry: option", "\ndefault", "\nallowed", "\nmeaning"), describe_options(), width=180)
    raise typer.Exit


def _model_in(folder: Path) -> Path:
    """Return the folder of the model that a run's folder holds; any other folder is taken as it is."""
    if (about := folder / "cell.json").is_file():
        from trustseg.run_files import Description, read_checked

        if (mixture := read_checked(about, Description).mixture) is not None:
            members = ", ".join(str(folder.parent / member) for member in mixture.members)
            raise ConfigError(f"'{folder}' mixes models and holds none itself; give one of {members}")
    inner = folder / "model"
    return inner if (inner / "model.json").is_file() and not (folder / "model.json").is_file() else folder


def _models_in(folders: list[Path] | None) -> list[Path] | None:
    return None if folders is None else [*map(_model_in, folders)]


def output_option(text: str) -> Any:  # noqa: ANN401 - what Typer takes
    """Return the option ``--output`` of a command, with its help."""
    return typer.Option("--output", "-o", help=text)


Settings = Annotated[list[str] | None, typer.Argument(help=SETTINGS_HELP)]
Keys = Annotated[
    bool, typer.Option("--keys", callback=_show_keys, is_eager=True, help="List all keys with defaults, and exit.")
]
Model = Annotated[
    Path, typer.Argument(callback=_model_in, help="Run folder or model folder, written by train or study.")
]
ExportedOrModel = Annotated[
    Path, typer.Argument(callback=_model_in, help="Run folder, model folder, or a file written by export.")
]
Members = Annotated[
    list[Path] | None,
    typer.Option("--ensemble", callback=_models_in, help="Further member of a deep ensemble; may be repeated."),
]
AllowSeen = Annotated[
    bool, typer.Option("--allow-training-patients", help="Allow patients that a model of trustseg has seen.")
]
Uncalibrated = Annotated[bool, typer.Option("--uncalibrated", help="Ignore the saved calibration.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what was written before.")]
Measure = Annotated[str, typer.Option(help="Pixel measure of uncertainty.")]
Aggregation = Annotated[str, typer.Option(help="How the map becomes an image score.")]
ScoreMeasure = Annotated[
    str | None, typer.Option("--measure", help="Uncertainty measure, e.g. vacuity. Default: entropy.")
]
ScoreAggregation = Annotated[
    str | None,
    typer.Option(
        "--aggregation", help="How the map becomes an image score, e.g. foreground_mean. Default: soft_dice_confidence."
    ),
]
Tau = Annotated[float, typer.Option(help="Segmentations with a Dice below this count as failed.")]
Draws = Annotated[int, typer.Option(min=1, help="Bootstrap draws over patients.")]


def split_settings(settings: list[str] | None) -> tuple[Path | None, list[str]]:
    """Return the YAML file among the settings, if any, and the key=value ones; no key holds a slash, a path may."""
    from trustseg.config.loading import is_key

    pairs = [text for text in settings or [] if "=" in text and "/" not in text.partition("=")[0]]
    files = [Path(text) for text in settings or [] if text not in pairs]
    for file in files:
        if not file.exists() and is_key(str(file)):
            raise ConfigError(f"'{file}' has no value; write {file}=VALUE")
    if len(files) > 1:
        raise ConfigError(f"got {len(files)} files ({', '.join(map(str, files))}); give at most one")
    _refuse_repeated(pairs)
    return (files[0] if files else None), pairs


def _refuse_repeated(pairs: list[str]) -> None:
    """Raise if two settings are of one key, or one of a key inside another; a section may be shared."""
    given: dict[str, str] = {}
    for text in pairs:
        keys = _keys_in(text)
        for key in keys:
            for other, former in given.items():
                if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                    raise ConfigError(f"{key} is set twice: {former} and {text}; give it once")
        given |= dict.fromkeys(keys, text)


def _keys_in(text: str) -> list[str]:
    """Return the dotted keys that a setting sets, several where its value is a map."""
    key, _, value = text.partition("=")
    try:
        inner = parse_yaml(value, where=key, as_text=True) if value.startswith("{") else None
    except ConfigError:  # which is said when it is read
        inner = None
    return [f"{key.strip()}.{name}" for name in inner] if isinstance(inner, dict) and inner else [key.strip()]


def settings_of(
    model: Path, spec: "SegmenterSpec", settings: list[str] | None, *, usual: "Sequence[str]" = ()
) -> "RunConfig":
    """Return the settings for a trained model: those of its own run unless a YAML file is given, then KEY=VALUE ones.

    ``usual`` are KEY=VALUE settings in place of the run's own; a file or a setting that is given wins over them.
    """
    from trustseg.config import load_run
    from trustseg.data.training_record import read_preprocessing

    file, overrides = split_settings(settings)
    own = home_of(model) / "config.yaml"
    built = [f"data.size={spec.size}", f"data.channels={spec.channels}"]
    if (reading := read_preprocessing(model)) is not None:
        built.append(f"data.fit={reading.fit}")
    config = load_run(file or (own if own.is_file() else None), [*built, *(() if file else usual), *overrides])
    if config.data.path is None:
        lacking = "" if file or own.is_file() else f", as '{own}' is not next to the model"
        raise ConfigError(
            f"no images given{lacking}; set data.path=FOLDER, and data.fold as in training, or give the config.yaml "
            "of the run"
        )
    if "head" in config.model.model_fields_set and config.model.head != spec.head:
        raise ModelError(
            f"'{model}' has a {spec.head} head, not a {config.model.head} head; set model.head={spec.head} or give "
            "another model"
        )
    return config


def sets_fold(settings: list[str] | None) -> bool:
    """Return whether the fold comes from the user, not from the run of the model."""
    file, pairs = split_settings(settings)
    return file is not None or any("data.fold" in _keys_in(text) for text in pairs)


def home_of(model: Path) -> Path:
    """Return the folder of the run that a model's folder lies in."""
    return model.parent if model.name else model.absolute().parent
