"""The settings of a run and of a study: one schema, checked against the dictionaries of names.

A study is a run plus a grid of values; see ``study/grid.py``. Importing this module loads neither torch nor Lightning:
names are looked up when a configuration is checked.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from trustseg.errors import ConfigError, MissingFileError, unknown_name

__all__ = [
    "AdversarialConfig",
    "AttackConfig",
    "DataConfig",
    "EvaluationConfig",
    "LossConfig",
    "ModelConfig",
    "PhantomConfig",
    "RunConfig",
    "StudyConfig",
    "TrainingConfig",
    "describe_keys",
    "load_run",
    "load_study",
    "with_values",
]


_Config = TypeVar("_Config", bound="RunConfig")


def _number(value: object) -> object:
    """Turn a fraction such as "4/255" into a float; leave everything else to pydantic."""
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            return value
    return value


Eps = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]


class _Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(_Section):
    """Which images, at which size, split how."""

    path: str | None = Field(None, description="dataset folder or pack; null in a study: generated phantoms")
    size: int = Field(224, ge=32, le=2048, description="side in pixels that images and masks are resized to")
    channels: Literal[1, 3] = Field(1, description="image channels; 1 = grey")
    fold: int | None = Field(None, ge=0, description="which fold is the test set; null: the official train/test split")
    folds: int = Field(5, ge=2, description="number of patient-grouped folds")
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="share of training images kept for validation")
    split_seed: int = Field(0, ge=0, description="seed of folds and validation split")

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist among {self.folds} folds (0 to {self.folds - 1})")
        return self


class ModelConfig(_Section):
    """What the segmenter is built from."""

    architecture: str = Field(
        "unet", description="network: unet, unet_plus_plus, fpn, deeplab_v3, deeplab_v3_plus, fcn"
    )
    encoder: str = Field("resnet18", description="encoder of segmentation_models.pytorch (fcn: resnet50, resnet101)")
    head: Literal["bernoulli", "beta"] = Field("beta", description="classical (bernoulli) or evidential (beta) head")
    prior: float = Field(1.0, gt=0, description="prior weight of each class in a beta head")
    weights: str | None = Field(None, description="safetensors file with encoder weights; null: random start")
    accept_noncommercial: bool = Field(False, description="allow encoders under non-commercial terms")


class LossConfig(_Section):
    """What training minimises: data term + kl_weight * KL to uniform (beta) + dice_weight * soft Dice."""

    bernoulli: str = Field("binary_cross_entropy", description="data term of a bernoulli head")
    beta: str = Field("bayes_risk_cross_entropy", description="data term of a beta head")
    kl_weight: float = Field(0.1, ge=0, description="largest weight of the KL to uniform (beta head only)")
    kl_epochs: int = Field(10, ge=0, description="epochs until the KL weight is full")
    dice_weight: float = Field(1.0, ge=0, description="weight of the soft Dice loss on p")
    balance: Literal["none", "image"] = Field("none", description="pixel mean, or foreground and background half each")


class MeasureConfig(_Section):
    """The uncertainty measure that scores images, by head."""

    bernoulli: str = Field("entropy", description="measure for a bernoulli head")
    beta: str = Field("epistemic_variance", description="measure for a beta head")


class AdversarialConfig(_Section):
    """Which images of a batch are attacked during training, and how."""

    selection: str = Field("none", description="none, random, uncertain, certain or hard")
    fraction: float = Field(0.5, gt=0, le=1, description="share of the batch that is attacked")
    mode: Literal["replace", "append"] = Field("replace", description="whether the clean originals leave the batch")
    weight: float = Field(1.0, gt=0, description="weight of an adversarial image's loss against a clean one's")
    attack: str = Field("fgsm", description="training attack: fgsm, r_fgsm or pgd")
    eps: Eps = Field(4 / 255, description="L-inf budget in pixel units of [0, 1]; 4/255 = four grey levels")
    steps: int = Field(7, ge=1, description="gradient steps of pgd")
    objective: str = Field("cross_entropy", description="what the attack maximises")
    measure: MeasureConfig = Field(MeasureConfig(), description="uncertainty measure that scores images")
    aggregation: str = Field("mean", description="map to image score")
    warmup_epochs: int = Field(2, ge=0, description="epochs without attacks at the start")
    ramp_epochs: int = Field(5, ge=0, description="epochs over which eps then grows to its full value")


class TrainingConfig(_Section):
    """How long, how fast and on what."""

    epochs: int = Field(60, ge=1, description="largest number of epochs")
    batch_size: int = Field(8, ge=1, description="images a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of AdamW (cosine decay after a warm-up)")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of AdamW")
    clip_norm: float = Field(5.0, gt=0, description="largest gradient norm")
    augment: bool = Field(True, description="random flips, small rotations, scaling, contrast and brightness")
    validation_every: int = Field(5, ge=1, description="epochs between validations")
    validation_steps: int = Field(10, ge=1, description="PGD steps of the robust validation")
    monitor: Literal["clean", "robust", "both", "last"] = Field(
        "both",
        description="what chooses the epoch that is kept: validation Dice clean, under PGD at full eps, their mean; "
        "last: the last epoch, whatever its score",
    )
    patience: int | None = Field(None, ge=1, description="validations without improvement before stopping; null: never")
    seed: int = Field(0, ge=0, description="seed of weights, batches, augmentation and attacks")
    deterministic: bool = Field(True, description="repeatable bit for bit on one machine")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="precision of the network")
    accelerator: str = Field("auto", description="Lightning accelerator: auto, cpu, gpu")
    devices: int = Field(1, ge=1, description="devices; more than one trains with DDP")
    logger: Literal["csv", "tensorboard", "mlflow"] = Field("csv", description="tracker beside the CSV file")


class AttackConfig(_Section):
    """One attack of the evaluation at a ladder of budgets."""

    name: str = Field(description="attack: fgsm, r_fgsm, pgd")
    eps: tuple[Eps, ...] = Field(min_length=1, description="budgets in pixel units of [0, 1], e.g. [1/255, 4/255]")
    steps: int = Field(20, ge=1, description="gradient steps of pgd")
    restarts: int = Field(1, ge=1, description="restarts of pgd")
    norm: Literal["linf", "l2"] = Field("linf", description="norm of the budget of pgd")
    objective: str = Field("cross_entropy", description="what the attack maximises")


_LADDER = tuple(level / 255 for level in (1, 2, 4, 8))


class EvaluationConfig(_Section):
    """Under which conditions a model is measured."""

    attacks: tuple[AttackConfig, ...] = Field(
        (AttackConfig(name="fgsm", eps=_LADDER), AttackConfig(name="pgd", eps=_LADDER)),
        description="attacks and budgets",
    )
    measures: tuple[str, ...] = Field(
        ("entropy", "mutual_information", "epistemic_variance", "vacuity"),
        min_length=1,
        description="pixel measures; those that a head cannot give are left out for it",
    )
    aggregations: tuple[str, ...] = Field(
        ("mean", "quantile_mean", "foreground_mean"), min_length=1, description="map to image score"
    )
    batch_size: int = Field(16, ge=1, description="images a forward pass")
    gallery: int = Field(4, ge=0, description="cases kept as pictures for the report; 0: none")


class RunConfig(_Section):
    """Everything one training and evaluation needs."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        from trustseg.attacks import ATTACKS, OBJECTIVES
        from trustseg.beliefs import Bernoulli, Beta
        from trustseg.losses import LOSSES
        from trustseg.models.architectures import ARCHITECTURES
        from trustseg.selection import SELECTIONS
        from trustseg.uncertainty import AGGREGATIONS, MEASURES

        adversarial, evaluation = self.adversarial, self.evaluation
        wanted: list[tuple[str, str, Sequence[str] | Mapping[str, object]]] = [
            ("model.architecture", self.model.architecture, ARCHITECTURES),
            ("loss.bernoulli", self.loss.bernoulli, LOSSES),
            ("loss.beta", self.loss.beta, LOSSES),
            ("adversarial.selection", adversarial.selection, ["none", *SELECTIONS]),
            ("adversarial.attack", adversarial.attack, ATTACKS),
            ("adversarial.objective", adversarial.objective, OBJECTIVES),
            ("adversarial.measure.bernoulli", adversarial.measure.bernoulli, Bernoulli.measures),
            ("adversarial.measure.beta", adversarial.measure.beta, Beta.measures),
            ("adversarial.aggregation", adversarial.aggregation, AGGREGATIONS),
        ]
        wanted += [("evaluation.attacks name", attack.name, ATTACKS) for attack in evaluation.attacks]
        wanted += [("evaluation.attacks objective", attack.objective, OBJECTIVES) for attack in evaluation.attacks]
        wanted += [("evaluation.measures", measure, MEASURES) for measure in evaluation.measures]
        wanted += [("evaluation.aggregations", name, AGGREGATIONS) for name in evaluation.aggregations]
        for key, got, known in wanted:
            if got not in known:
                raise unknown_name(f"value of {key}", got, known)
        return self


class PhantomConfig(_Section):
    """The generated chest X-rays of a study that names no data."""

    train: int = Field(160, ge=0, description="images to train and validate on")
    test: int = Field(40, ge=0, description="images to test on")
    control: int = Field(20, ge=0, description="images without infection")
    seed: int = Field(0, ge=0, description="seed of the generator")


class StudyConfig(RunConfig):
    """A run repeated over a grid of values."""

    phantoms: PhantomConfig = PhantomConfig()

    name: str = Field("study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of the study's folder")
    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="configuration key -> the values to run it with; all combinations are run"
    )


def load_run(path: Path | str | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the run that a YAML file and ``key=value`` overrides describe.

    Args:
        path: YAML file; ``None`` for all defaults.
        overrides: e.g. ``["model.head=beta", "adversarial.eps=4/255"]``; values are YAML.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if a key is unknown or a value does not fit.
    """
    content = _with_overrides(_read_yaml(path), overrides)
    return _validated(RunConfig, content, where=str(path or "the configuration"))


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Return the study that a YAML file and ``key=value`` overrides describe; see ``load_run``."""
    content = _with_overrides(_read_yaml(path), overrides)
    content.setdefault("name", Path(path).stem)
    return _validated(StudyConfig, content, where=str(path))


def with_values(config: RunConfig, values: Mapping[str, object]) -> RunConfig:
    """Return the plain run of ``config`` with some keys set.

    Args:
        config: a run or a study.
        values: dotted key -> value, e.g. ``{"model.head": "beta"}``.

    Raises:
        ConfigError: if a key is unknown or a value does not fit.
    """
    content = config.model_dump(mode="json", include=set(RunConfig.model_fields))
    for key, value in values.items():
        _set(content, key, value)
    return _validated(RunConfig, content, where="the grid")


def describe_keys() -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, default, range, description) of every key of a run, in order."""
    for section_name, section in RunConfig.model_fields.items():
        yield from _describe(section_name, section.annotation)


def _describe(prefix: str, section: object) -> Iterator[tuple[str, str, str, str]]:
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return
    for name, field in section.model_fields.items():
        key = f"{prefix}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _describe(key, field.annotation)
            continue
        bounds = [str(part) for part in field.metadata if hasattr(part, "__slots__") and not callable(part)]
        options = getattr(field.annotation, "__args__", ())
        allowed = " | ".join(map(str, options)) if all(isinstance(option, str | int) for option in options) else ""
        yield key, _shown(field.get_default()), allowed or ", ".join(bounds), field.description or ""


def _shown(value: object) -> str:
    if isinstance(value, float) and 0 < value < 1 and abs(value * 255 - round(value * 255)) < 1e-9:
        return f"{round(value * 255)}/255"
    if isinstance(value, tuple) and value and isinstance(value[0], AttackConfig):
        return "; ".join(f"{attack.name} at {', '.join(map(_shown, attack.eps))}" for attack in value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "null" if value is None else str(value)


def _read_yaml(path: Path | str | None) -> dict[str, Any]:
    if path is None:
        return {}
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"no configuration file '{file}'; a YAML file was expected; check the path")
    try:
        content = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{file}' is not YAML ({str(error).splitlines()[0]}); mend that line") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"'{file}' holds a {type(content).__name__}; sections such as 'data:' were expected; see experiments/"
        )
    return content


def _with_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"got '{override}'; key=value was expected; write for example training.epochs=30")
        try:
            _set(content, key.strip(), yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ConfigError(f"the value in '{override}' is not YAML; quote it") from error
    return content


def _set(content: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key; the keys of ``grid`` hold dots themselves."""
    first, dot, rest = key.partition(".")
    if first == "grid" and dot:
        content.setdefault("grid", {})[rest] = value
    elif not dot:
        content[first] = value
    else:
        inner = content.setdefault(first, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"'{first}' is a single value, so '{key}' does not exist; set {first}=... instead")
        _set(inner, rest, value)


def _validated(kind: type[_Config], content: dict[str, Any], *, where: str) -> _Config:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_sentence(kind, detail) for detail in error.errors())) from error


def _sentence(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """Put one of pydantic's findings into words that name the key and, for unknown ones, the nearest."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _known_keys(kind)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known sections: {', '.join(kind.model_fields)}"
        return f"unknown key '{key}'; {hint}"
    message = detail["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"{key}={detail['input']!r}: {message[0].lower()}{message[1:]}"


def _known_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys
